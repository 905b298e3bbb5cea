"""One encoded picture to RGB, any shape to a square, a whole source to one memory-mapped array."""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from fastgan_ray.config.paths import cache_dir
from fastgan_ray.config.run_config import DataConfig
from fastgan_ray.data.cache import atomic_file
from fastgan_ray.errors import UserError
from fastgan_ray.progress import Track, silently

if TYPE_CHECKING:
    from fastgan_ray.data.source import Source

Fit = Literal["squash", "crop", "pad"]
T = TypeVar("T")

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
# Pillow's own threshold: above it `Image.open` warns, so that what we accept never warns.
MAX_PIXELS = 89_478_485
# Antialiased when shrinking, and the kernel of clean-fid: a generator that copied the training
# pictures perfectly is not charged for a different kernel. LANCZOS rings more at hard edges.
KERNEL = Image.Resampling.BICUBIC
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG = 0x0112
_ARRAY_VERSION = 1  # raise it when the same picture would give other pixels
_CHUNK = 64  # pictures in flight: bounds memory, not speed


def decode(data: bytes, background: str) -> Image.Image:
    """An encoded picture as RGB: upright by its EXIF, alpha over `background`, first frame.

    16-bit grey is scaled, not clipped. Call it within `quiet`. UserError with the reason alone
    (the caller knows the name) for anything that is no complete picture of the known kinds or is
    over MAX_PIXELS.
    """
    if not data:
        raise UserError("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image)
            image.load()
            upright = _UPRIGHT.get(_orientation(image))
            rgb = _to_rgb(image, background)
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(f"not a picture of a known kind ({', '.join(FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"more than {MAX_PIXELS:,} pixels: shrink it first") from None
    except Exception as error:  # Pillow's readers raise nearly every type on damaged input
        raise UserError(f"damaged or incomplete ({error or type(error).__name__})") from error
    return rgb if upright is None else rgb.transpose(upright)


def square(image: Image.Image, fit: Fit, background: str, side: int | None = None) -> Image.Image:
    """A picture of any shape as a square of `side` pixels, antialiased; small ones are enlarged.

    `squash` ignores the proportions, `crop` takes the centre, `pad` adds `background`. Without
    `side` nothing is resampled beyond need: the original scale (for a feature network that
    resizes itself), and `squash` then returns the picture as it is.
    """
    width, height = image.size
    if fit == "crop":
        short = min(width, height)
        left, top = (width - short) // 2, (height - short) // 2
        # Not `resize(box=...)`: its kernel reaches over the box's edge.
        image = image.crop((left, top, left + short, top + short))
    elif fit == "pad":
        # A square on the long side of a very oblong picture could be of any size.
        side = side or min(max(width, height), int(MAX_PIXELS**0.5))
        scale = side / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        canvas = Image.new("RGB", (side, side), background)
        resized = image if inner == image.size else image.resize(inner, KERNEL)
        canvas.paste(resized, ((side - inner[0]) // 2, (side - inner[1]) // 2))
        return canvas
    return image if side is None else image.resize((side, side), KERNEL)


def load_images(
    source: Source, config: DataConfig, resolution: int, track: Track = silently
) -> np.ndarray[Any, Any]:
    """All pictures of a source, uint8 (N, R, R, 3): a read-only memory map of a cached file.

    The file is keyed by content and settings and shared by all processes of the machine; those
    that build it at once all succeed. UserError where the cache cannot be written or a picture
    changed since the source was opened.
    """
    settings = [_ARRAY_VERSION, source.digest, resolution, config.fit, config.background.lower()]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    path = cache_dir() / "images" / f"{key}.npy"
    shape = (len(source), resolution, resolution, 3)
    if (cached := _open_array(path, shape)) is not None:
        return cached

    def row(index: int) -> bytes:
        image = source.read(index, config.background)
        return square(image, config.fit, config.background, resolution).tobytes()

    with atomic_file(path) as partial, partial.open("wb") as file:
        # Plain writes, not a writable map: a full disk is then an error and not a SIGBUS.
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for pixels in in_order(row, len(source), track, "shrinking pictures"):
            file.write(pixels)
    array = _open_array(path, shape)
    assert array is not None
    return array


def in_order(function: Callable[[int], T], count: int, track: Track, doing: str) -> Iterator[T]:
    """function(0), function(1), ... computed by threads (Pillow releases the GIL), in order."""
    with quiet(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results: Iterator[T] = iter(())
        for index in track(range(count), doing):
            if index % _CHUNK == 0:
                results = pool.map(function, range(index, min(index + _CHUNK, count)))
            yield next(results)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's remarks (odd EXIF, many pixels): `decode` decides what is an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _open_array(path: Path, shape: tuple[int, ...]) -> np.ndarray[Any, Any] | None:
    """The cached array, or None if it is absent or not whole."""
    try:
        array: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise UserError(
            f"{image.width} x {image.height} px is more than {MAX_PIXELS:,} pixels: shrink it first"
        )


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1..8; a picture with damaged EXIF is taken as it lies."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # as in `decode`; EXIF is no part of the picture
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
    """16-bit grey as 8-bit grey (with alpha where one value is declared transparent)."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise UserError(
            f"{image.mode}-mode pixels have no defined white: save it with 8 or 16 bits a channel"
        )
    grey = Image.fromarray(np.round(values / 257).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey
