"""Pictures as files, and how much two pictures differ."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

WHITE = "#ffffff"


def encode(image: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def gradient(width: int = 24, height: int = 16) -> Image.Image:
    """Differs in every corner, so that a wrong turn shows."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 // (width - 1), y * 255 // (height - 1), 255 - x * 4], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def difference(a: Image.Image, b: Image.Image) -> int:
    assert a.mode == b.mode == "RGB" and a.size == b.size
    return int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max())
