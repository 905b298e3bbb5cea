"""Write GIF and MP4 videos, frame by frame."""

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
    """Return a function that writes videos in the format of the suffix of `path`.

    The arguments of this function are the frames (uint8 (H, W, 3), RGB), a path, and the number of
    frames per second. Raise UserError if the suffix of `path` is not .gif or .mp4, or if a package
    is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UserError(f"--out: must end in {' or '.join(FORMATS)} (got {path})")
    return FORMATS[suffix]()


def gif() -> Writer:
    """Return a function that writes GIF files with Pillow; see `video_writer`.

    A frame has at most 256 colours. The video repeats forever. A frame's duration is rounded to a
    multiple of 0.01 s.
    """

    def write(frames: Iterator[Frame], path: Path, fps: int) -> None:
        images = (Image.fromarray(frame) for frame in frames)
        milliseconds = 10 * round(100 / fps)
        first = next(images)
        first.save(path, save_all=True, append_images=images, duration=milliseconds, loop=0)

    return write


def mp4() -> Writer:
    """Return a function that writes MP4 files (H.264) with imageio-ffmpeg; see `video_writer`.

    Raise UserError if imageio-ffmpeg is not installed.
    """
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise UserError(
            "--out: .mp4 needs a package that is not installed. Install it with: pip install "
            "'fastgan-ray[video]'; or choose a .gif file, which needs no package"
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
