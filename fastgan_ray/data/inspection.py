"""Decide whether a picture file is damaged, and collect the properties of its pictures."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from fastgan_ray.data.colour import DAMAGED, profile_name, profile_of
from fastgan_ray.data.decode import decode_frame, final_mode, frames_of, opened
from fastgan_ray.data.jpeg import lacks_end
from fastgan_ray.data.kinds import HEAD_BYTES, kind_of

Frames = Literal["first", "all"]

SKETCH_SIDE = 6
CUT_OFF = "cut off at the end, but no pixel is missing"
NO_PROFILE = "read as sRGB, because the colour profile is damaged"


class PictureFacts(NamedTuple):
    """The properties of one picture: a whole file, or one page or frame of a file."""

    frame: int
    width: int
    height: int
    mode: str
    """Pillow's mode of the file: "RGB", "L" (grey), "P" (palette), "CMYK", ..."""
    profile: str
    """The name of the picture's colour profile; "" if it has none."""
    is_transparent: bool
    sketch: str
    """The picture reduced to SKETCH_SIDE x SKETCH_SIDE RGB pixels, in hexadecimal digits.

    Similar pictures are found by their sketches.
    """


class FileFacts(NamedTuple):
    """The properties of a picture file."""

    kind: str
    frame_count: int
    """Number of all pages or frames; `pictures` has only the first one or all of them."""
    warning: str
    pictures: tuple[PictureFacts, ...]


def inspect(data: bytes, frames: Frames) -> FileFacts:
    """Decode the first frame or all frames of a picture file, and return its properties.

    Call this function within `pillow_warnings_off`. Raises UserError like `decode`.
    """
    kind = kind_of(data[:HEAD_BYTES])
    with opened(data) as image:
        first = _facts(image, 0, image.mode)
        numbers = _frames_or_first(image, frames)
        pictures = [first]
        if frames == "all":
            pictures += [_facts(image, frame, image.mode) for frame in numbers[1:]]
    warning = NO_PROFILE if first.profile == DAMAGED else ""
    if _is_cut_off(data, kind):
        warning = CUT_OFF
    return FileFacts(kind, len(numbers), warning, tuple(pictures))


def as_json(facts: FileFacts) -> list[Any]:
    """Convert the properties of a file to plain lists, which JSON can store."""
    return [*facts[:3], [list(picture) for picture in facts.pictures]]


def from_json(stored: Any) -> FileFacts | None:  # noqa: ANN401 - any JSON value
    """Convert a result of `as_json` to FileFacts; return None for any other value."""
    try:
        kind, count, warning, rows = stored
        pictures = tuple(PictureFacts(*row) for row in rows)
        valid = all(len(bytes.fromhex(p.sketch)) == 3 * SKETCH_SIDE**2 for p in pictures)
        return FileFacts(str(kind), int(count), str(warning), pictures) if valid else None
    except (TypeError, ValueError):
        return None


def _frames_or_first(image: Image.Image, frames: Frames) -> list[int]:
    """Return the indices of the frames of an opened file.

    If the indices cannot be read, and `frames` is "first", return [0] instead of an error.
    """
    try:
        return frames_of(image)
    except Exception:  # as in `opened`
        if frames == "all":
            raise
        return [0]


def _facts(image: Image.Image, frame: int, mode: str) -> PictureFacts:
    picture = decode_frame(image, frame)
    sketch = final_mode(picture, "#808080").resize((SKETCH_SIDE,) * 2, Image.Resampling.BOX)
    return PictureFacts(
        frame=frame,
        width=picture.width,
        height=picture.height,
        mode=mode,
        profile=profile_name(profile_of(image)),  # after the check of the size
        is_transparent=picture.mode == "RGBA",
        sketch=np.asarray(sketch).tobytes().hex(),
    )


def _is_cut_off(data: bytes, kind: str) -> bool:
    """Return whether a JPEG or PNG file lacks its end marker.

    This check is necessary because a decoder may decode such a file without an error.
    """
    if kind == "JPEG":
        return lacks_end(data)
    return kind == "PNG" and b"IEND" not in data
