"""Write video files, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastgan_ray.errors import UserError

Frame = npt.NDArray[np.uint8]
Writer = Callable[[Iterator[Frame], Path, int], None]


def video_writer(path: Path) -> Writer:
    """Return the video writer for the suffix of `path`.

    A writer takes frames (H, W, 3), uint8, RGB, a path and the frames per second. Raise UserError
    if the suffix is not in FORMATS, or if a package is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UserError(f"--out: must end in {' or '.join(FORMATS)} (got {path})")
    return FORMATS[suffix]()


def gif() -> Writer:
    """Return a writer of GIF files, with Pillow.

    A frame has 256 colours, the video repeats forever, and a frame's duration is a multiple of
    1/100 s.
    """

    def write(frames: Iterator[Frame], path: Path, fps: int) -> None:
        images = (Image.fromarray(frame) for frame in frames)
        milliseconds = 10 * round(100 / fps)
        first = next(images)
        first.save(path, save_all=True, append_images=images, duration=milliseconds, loop=0)

    return write


def mp4() -> Writer:
    """Return a writer of H.264 files, with the ffmpeg of imageio-ffmpeg.

    The video's pixel format is one that all players support. Raise UserError if imageio-ffmpeg is
    not installed.
    """
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise UserError(
            "--out: .mp4 needs a package that is not installed: pip install 'fastgan-ray[video]' "
            "(.gif needs no package)"
        ) from error

    def write(frames: Iterator[Frame], path: Path, fps: int) -> None:
        first = next(frames)
        height, width, _ = first.shape
        sink = imageio_ffmpeg.write_frames(
            str(path),
            (width, height),
            fps=fps,
            quality=8,
            ffmpeg_log_level="error",
            macro_block_size=2,  # larger blocks would resize frames of other sides
        )
        sink.send(None)
        try:
            sink.send(first.tobytes())
            for frame in frames:
                sink.send(frame.tobytes())
        finally:
            sink.close()

    return write


FORMATS: dict[str, Callable[[], Writer]] = {".gif": gif, ".mp4": mp4}
