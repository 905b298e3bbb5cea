"""Make a picture of any shape square."""

from __future__ import annotations

from typing import Literal

from PIL import Image

from fastgan_ray.data.decode import MAX_PIXELS

Fit = Literal["squash", "crop", "pad"]

# This kernel is antialiased when it shrinks pictures. clean-fid uses the same kernel, so a perfect
# copy of the training pictures does not get a worse FID because of the kernel. LANCZOS has stronger
# ringing at sharp edges.
KERNEL = Image.Resampling.BICUBIC


def fit_to_square(
    image: Image.Image, fit: Fit, background: str, side: int | None = None
) -> Image.Image:
    """Make a picture square, `side` pixels wide, with antialiased resampling.

    Pictures smaller than `side` are enlarged. `squash` changes the proportions, `crop` takes the
    centre, `pad` adds `background`. Without `side`, the picture keeps its scale, for a feature
    network that resizes by itself; `squash` then returns the picture unchanged.
    """
    width, height = image.size
    if fit == "crop":
        short = min(width, height)
        left, top = (width - short) // 2, (height - short) // 2
        # Do not use `resize(box=...)`: its kernel also reads pixels outside the box.
        image = image.crop((left, top, left + short, top + short))
    elif fit == "pad":
        return _pad(image, background, side)
    return image if side is None else image.resize((side, side), KERNEL)


def _pad(image: Image.Image, background: str, side: int | None) -> Image.Image:
    width, height = image.size
    # Limit the side: the square around a very long, narrow picture could be too large for memory.
    side = side or min(max(width, height), int(MAX_PIXELS**0.5))
    scale = side / max(width, height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = Image.new("RGB", (side, side), background)
    resized = image if inner == image.size else image.resize(inner, KERNEL)
    canvas.paste(resized, ((side - inner[0]) // 2, (side - inner[1]) // 2))
    return canvas
