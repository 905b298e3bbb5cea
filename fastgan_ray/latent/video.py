"""Films of pictures, written a frame at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastgan_ray.errors import UserError

Frame = npt.NDArray[np.uint8]
Writer = Callable[[Iterator[Frame], Path, int], None]


def film_writer(path: Path) -> Writer:
    """What writes frames (H, W, 3), uint8, to a file of `path`'s kind, so many a second.

    UserError for a kind that is none of FILMS, or whose package is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in FILMS:
        raise UserError(f"--out: must end in {' or '.join(FILMS)} (got {path})")
    return FILMS[suffix]()


def gif() -> Writer:
    """By Pillow: 256 colours a frame, repeated for ever, the time between frames in 1/100 s."""
    return _write_gif


def mp4() -> Writer:
    """H.264 by the ffmpeg that comes with imageio-ffmpeg, in the colours that players expect."""
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise UserError(
            "--out: .mp4 needs a package that is not installed: pip install 'fastgan-ray[video]' "
            "(a .gif needs none)"
        ) from error

    def write(frames: Iterator[Frame], path: Path, fps: int) -> None:
        first = next(frames)
        height, width, _ = first.shape
        sink = imageio_ffmpeg.write_frames(
            str(path), (width, height), fps=fps, quality=8, ffmpeg_log_level="error"
        )
        sink.send(None)
        try:
            sink.send(first.tobytes())
            for frame in frames:
                sink.send(frame.tobytes())
        finally:
            sink.close()

    return write


def _write_gif(frames: Iterator[Frame], path: Path, fps: int) -> None:
    images = (Image.fromarray(frame) for frame in frames)
    milliseconds = 10 * round(100 / fps)
    next(images).save(path, save_all=True, append_images=images, duration=milliseconds, loop=0)


FILMS: dict[str, Callable[[], Writer]] = {".gif": gif, ".mp4": mp4}
