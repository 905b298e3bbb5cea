"""Turn the bytes of a picture file into a picture in sRGB; EXIF rotation, frames, size limit."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

from fastgan_ray.config.data import Mode
from fastgan_ray.data.arrays import decode_array
from fastgan_ray.data.colour import profile_of, to_srgb
from fastgan_ray.data.jpeg import with_end
from fastgan_ray.data.kinds import ARRAY, HEAD_BYTES, PICTURES, is_picture, kind_of, missing_decoder
from fastgan_ray.errors import UserError

# {value of `data.mode`: Pillow's mode}
PILLOW_MODES: dict[Mode, str] = {"grey": "L", "rgb": "RGB", "rgba": "RGBA"}
# The limit above which Pillow's `Image.open` warns, so an accepted picture causes no warning.
MAX_PIXELS = 89_478_485
# Kinds with pages or frames. (The second picture in a JPEG is a thumbnail or a depth map.)
WITH_FRAMES = ("TIFF", "GIF", "WEBP", "PNG", "AVIF")
_ORIENTATION_TAG = 0x0112
# The tag for the type of a TIFF page: bit 0 marks a reduced copy of another page, bit 2 a mask.
_SUBFILE_TAG = 254
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, background: str, frame: int = 0, mode: Mode = "rgb") -> Image.Image:
    """Decode a picture file to `mode`; convert it to sRGB and rotate it as its EXIF data says.

    If `mode` is "grey", the result has Pillow's mode L; for "rgb", RGB; for "rgba", RGBA. `frame`
    is the index of the page or frame, from 0. If `mode` has no alpha, transparent parts show the
    colour `background`. 16-bit grey is scaled to 8 bits. Call this function within
    `pillow_warnings_off`. Raises UserError if the picture is damaged or incomplete, has a format
    that cannot be read, or has more than MAX_PIXELS pixels. The message has only the reason; the
    caller adds the file's name.
    """
    if frame:
        return final_mode(_later_frame(data, frame), background, mode)
    with opened(data) as image:
        return final_mode(decode_frame(image, 0), background, mode)


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """Open a picture file without decoding it.

    Errors of Pillow in the `with` block become UserErrors, like those of `decode`.
    """
    with _user_errors(), _open(data) as image:
        yield image


def _open(data: bytes) -> Image.Image:
    if not data:
        raise UserError("is empty")
    kind = kind_of(data[:HEAD_BYTES])
    if not is_picture(kind) and kind != ARRAY:
        raise UserError(f"is not a picture of a known format ({', '.join(PICTURES)})")
    if mend := missing_decoder(kind):
        raise UserError(f"is a picture that this installation cannot read; {mend}")
    if kind == ARRAY:
        return Image.fromarray(decode_array(data))
    return Image.open(io.BytesIO(with_end(data) if kind == "JPEG" else data), formats=[kind])


@contextmanager
def _user_errors() -> Iterator[None]:
    """Turn any error in the `with` block into a UserError that says what is wrong with the file."""
    try:
        yield
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError("is damaged or incomplete (its header cannot be read)") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"has more than {MAX_PIXELS:,} pixels: shrink it first") from None
    except Exception as error:  # Pillow raises nearly every type of error on damaged input
        raise UserError(f"is damaged or incomplete ({error or type(error).__name__})") from error


class _Recent(threading.local):
    """A file with several frames that stays open, so that decoding its next frame is fast.

    Each thread has one such file.
    """

    data: bytes | None = None
    image: Image.Image | None = None


_recent = _Recent()


def _later_frame(data: bytes, frame: int) -> Image.Image:
    """Decode the frame with index `frame`, which is at least 1.

    Most decoders must decode all earlier frames first. So the file stays open in `_recent`, and the
    decoder continues if the next call is for the same file.
    """
    with _user_errors():
        image = _recent.image if _recent.data == data else None
        _recent.data = _recent.image = None  # after an error, open the file again
        image = image or _open(data)
        picture = decode_frame(image, frame)
        _recent.data, _recent.image = data, image
        return picture


def frames_of(image: Image.Image) -> list[int]:
    """Return the indices of the pages or frames of an opened file; [0] for a single picture.

    Pages of a TIFF file that are reduced copies or masks of other pages are left out.
    """
    if image.format not in WITH_FRAMES:
        return [0]
    count = int(getattr(image, "n_frames", 1))
    if image.format != "TIFF" or count == 1:
        return list(range(count))
    frames = [frame for frame in range(count) if frame == 0 or not _is_auxiliary(image, frame)]
    image.seek(0)
    return frames


def decode_frame(image: Image.Image, frame: int) -> Image.Image:
    """Decode a frame of an opened file; convert it to sRGB and rotate it as its EXIF data says.

    The result is RGB, or RGBA if the frame has transparent parts. Call this function within
    `opened`, which converts Pillow's errors to UserErrors.
    """
    if frame:
        image.seek(frame)
    _check_size(image)
    image.load()
    upright = _UPRIGHT.get(_orientation(image))
    colours = _in_srgb(image)
    return colours if upright is None else colours.transpose(upright)


def final_mode(image: Image.Image, background: str, mode: Mode = "rgb") -> Image.Image:
    """Convert an RGB or RGBA picture to `mode`, a value of `data.mode`.

    If `mode` has no alpha, transparent parts show the colour `background`.
    """
    if image.mode == "RGBA" and mode != "rgba":
        canvas = Image.new("RGBA", image.size, background)
        canvas.alpha_composite(image)
        image = canvas.convert("RGB")
    return image if image.mode == PILLOW_MODES[mode] else image.convert(PILLOW_MODES[mode])


@contextmanager
def pillow_warnings_off() -> Iterator[None]:
    """Silence Pillow's warnings, e.g. about EXIF data, because `decode` itself checks files."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _is_auxiliary(image: Image.Image, frame: int) -> bool:
    image.seek(frame)
    tags = getattr(image, "tag_v2", {})
    return bool(int(tags.get(_SUBFILE_TAG, 0)) & 0b101)


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise UserError(
            f"has {image.width} x {image.height} px, more than {MAX_PIXELS:,} pixels: shrink it "
            "first"
        )


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (no change) if the EXIF data is damaged."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # as in `opened`; damaged EXIF does not make the pixels unusable
        return 1


def _in_srgb(image: Image.Image) -> Image.Image:
    """Return the picture in sRGB: RGB, or RGBA if it has transparent parts."""
    profile = profile_of(image)
    if image.mode == "F" or image.mode.startswith("I"):
        image = _from_integers(image)
    if not image.has_transparency_data and image.mode not in ("La", "RGBa"):
        return to_srgb(image, profile)
    rgba = image.convert("RGBA")
    is_grey = image.mode in ("1", "L", "LA", "La")
    colours = to_srgb(rgba.getchannel("R") if is_grey else rgba.convert("RGB"), profile)
    colours.putalpha(rgba.getchannel("A"))
    return colours


def _from_integers(image: Image.Image) -> Image.Image:
    """Convert 16-bit grey to 8-bit grey; add alpha if the file declares a transparent value.

    Raises UserError if the pixels are floating-point numbers or are outside 0 to 65535.
    """
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise UserError(
            f"has pixels of Pillow's mode {image.mode}, whose range of values is not defined: save "
            "it with 8 or 16 bits per channel"
        )
    grey = Image.fromarray(np.round(values / 257).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey
