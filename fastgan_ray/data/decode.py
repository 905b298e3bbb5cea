"""Turn the bytes of a picture file into an RGB picture."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

from fastgan_ray.errors import UserError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
# Pillow's own limit: `Image.open` warns only above it, so an accepted picture causes no warning.
MAX_PIXELS = 89_478_485
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, background: str) -> Image.Image:
    """Decode a picture file to RGB: first frame, turned as EXIF says, alpha over `background`.

    16-bit grey is scaled to 8 bits, not clipped. Call it within `pillow_warnings_off`. Raises
    UserError for a damaged or incomplete picture, a format that is not in FORMATS, or more than
    MAX_PIXELS pixels. The message has only the reason; the caller adds the file's name.
    """
    if not data:
        raise UserError("is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image)
            image.load()
            upright = _UPRIGHT.get(_orientation(image))
            rgb = _to_rgb(image, background)
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(f"is not a picture of a known format ({', '.join(FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"has more than {MAX_PIXELS:,} pixels: shrink it first") from None
    except Exception as error:  # Pillow raises nearly every type of error on damaged input
        raise UserError(f"is damaged or incomplete ({error or type(error).__name__})") from error
    return rgb if upright is None else rgb.transpose(upright)


@contextmanager
def pillow_warnings_off() -> Iterator[None]:
    """Silence Pillow's warnings (odd EXIF, many pixels): `decode` decides what is an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise UserError(
            f"has {image.width} x {image.height}, more than {MAX_PIXELS:,} pixels: shrink it first"
        )


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (no change) if the EXIF data is damaged."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # as in `decode`; damaged EXIF does not make the pixels unusable
        return 1


def _to_rgb(image: Image.Image, background: str) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        image = _from_integers(image)
    if image.has_transparency_data or image.mode in ("La", "RGBa"):
        rgba = image.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, background)
        canvas.alpha_composite(rgba)
        return canvas.convert("RGB")
    return image.convert("RGB")


def _from_integers(image: Image.Image) -> Image.Image:
    """Convert 16-bit grey to 8-bit grey, with alpha if the file declares a transparent value."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise UserError(
            f"has {image.mode}-mode pixels, which have no defined white: save it with 8 or 16 bits "
            "per channel"
        )
    grey = Image.fromarray(np.round(values / 257).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey
