"""Resize, crop or pad a picture of any shape to the size of the generated pictures."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image, ImageColor

from fastgan_ray.data.decode import MAX_PIXELS

Fit = Literal["squash", "crop", "pad"]
Size = tuple[int, int]  # height, width

# This kernel is antialiased when it shrinks pictures. clean-fid uses the same kernel, so a perfect
# copy of the training pictures does not get a worse FID because of the kernel. LANCZOS has stronger
# ringing at sharp edges.
KERNEL = Image.Resampling.BICUBIC


def fit_picture(
    image: Image.Image, fit: Fit, background: str, size: Size, keep_scale: bool = False
) -> Image.Image:
    """Fit a picture to `size` (height, width), with antialiased resampling.

    If `fit` is "squash", the picture's proportions change. If it is "crop", the parts that do not
    fit are cut off. If it is "pad", borders of colour `background` are added (transparent borders
    if the picture has alpha). Smaller pictures are enlarged. With `keep_scale`, the picture is
    cropped or padded to the proportions of `size`, but not resized, because the feature network
    resizes it later. Fully transparent pixels get the colour `background`.
    """
    height, width = size
    if fit == "crop":
        image = _cropped(image, size)
    if fit == "pad":
        image = _padded(image, background, size, keep_scale)
    elif not keep_scale:
        image = image.resize((width, height), KERNEL)
    return _without_hidden_colours(image, background) if image.mode == "RGBA" else image


def _cropped(image: Image.Image, size: Size) -> Image.Image:
    """Crop a picture around its centre to the largest part with the proportions of `size`."""
    rows, columns = size
    width = min(image.width, max(1, image.height * columns // rows))
    height = min(image.height, max(1, image.width * rows // columns))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    # Do not use `resize(box=...)`: its kernel also reads pixels outside the box.
    return image.crop((left, top, left + width, top + height))


def _padded(image: Image.Image, background: str, size: Size, keep_scale: bool) -> Image.Image:
    height, width = _around(image, size) if keep_scale else size
    scale = min(height / image.height, width / image.width)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    border = background + "00" if image.mode == "RGBA" else background
    canvas = Image.new(image.mode, (width, height), border)
    resized = image if inner == image.size else image.resize(inner, KERNEL)
    canvas.paste(resized, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas


def _around(image: Image.Image, proportions: Size) -> Size:
    """Return the smallest (height, width) with the given proportions that contains a picture.

    For a very long, narrow picture, this size could be too large for memory. So the returned size
    has at most MAX_PIXELS pixels.
    """
    rows, columns = proportions
    height = max(image.height, -(-image.width * rows // columns))
    width = max(image.width, -(-image.height * columns // rows))
    if height * width > MAX_PIXELS:
        return int((MAX_PIXELS * rows / columns) ** 0.5), int((MAX_PIXELS * columns / rows) ** 0.5)
    return height, width


def _without_hidden_colours(image: Image.Image, background: str) -> Image.Image:
    """Replace the colours of fully transparent pixels by `background`.

    These colours are not visible, but a network would learn them.
    """
    pixels = np.array(image)
    pixels[pixels[..., 3] == 0, :3] = ImageColor.getrgb(background)
    return Image.fromarray(pixels)
