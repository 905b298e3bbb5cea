"""Convert pictures to and from tensors in [-1, 1]; save pictures, or grids of them, as PNG files.

Pictures have 1 channel (grey), 3 (RGB) or 4 (RGB and alpha). The files have the same channels.
This module does not use torchvision, because its import would slow down the start of every trial.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_tensor(image: Image.Image) -> Tensor:
    """Convert a picture to a tensor (C, H, W) in [-1, 1]."""
    return to_pixels(image) / 127.5 - 1


def to_pixels(image: Image.Image) -> Tensor:
    """Return the pixels of a picture as uint8 (C, H, W)."""
    return torch.from_numpy(np.atleast_3d(np.array(image))).permute(2, 0, 1)


def to_uint8(images_BCHW: Tensor) -> Tensor:
    """Convert pictures in [-1, 1] to uint8 (0 to 255), in a tensor of the same shape on the CPU."""
    return ((images_BCHW.float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def save_image(image_CHW: Tensor, path: Path) -> None:
    """Write one picture in [-1, 1] as a PNG."""
    _to_image(to_uint8(image_CHW)).save(path)


GAP = 2  # pixels between the tiles of a grid


def save_grid(images_BCHW: Tensor, path: Path, columns: int | None = None, gap: int = GAP) -> None:
    """Write pictures in [-1, 1] as tiles of one PNG, row by row.

    `columns` is the number of tiles in a row (None: about as many columns as rows). `gap` is the
    space between tiles in pixels.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _to_image(tiled(images_BCHW, columns, gap)).save(path)


def tiled(images_BCHW: Tensor, columns: int | None = None, gap: int = GAP) -> Tensor:
    """Put pictures in [-1, 1] side by side on a white sheet, row by row.

    `columns` is the number of tiles in a row. If it is None, there are about as many columns as
    rows. `gap` is the space between tiles in pixels. Returns the sheet as uint8 (C, height, width).
    """
    count, channels, height, width = images_BCHW.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    size = (rows * (height + gap) - gap, columns * (width + gap) - gap)
    sheet = torch.full((channels, *size), 255, dtype=torch.uint8)
    for index, tile in enumerate(to_uint8(images_BCHW)):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        sheet[:, top : top + height, left : left + width] = tile
    return sheet


def cut_grid(grid: Image.Image, count: int) -> Iterator[Image.Image]:
    """Yield the `count` tiles of a grid that `save_grid` wrote with its default columns and gap.

    Raises ValueError if the size of `grid` does not fit `count` tiles.
    """
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    (width, rest_x), (height, rest_y) = (
        divmod(grid.width + GAP, columns),
        divmod(grid.height + GAP, rows),
    )
    if rest_x or rest_y or min(width, height) <= GAP:
        raise ValueError(
            f"a picture of {grid.width} x {grid.height} px cannot be a grid of {count} tiles"
        )
    for index in range(count):
        left, top = index % columns * width, index // columns * height
        yield grid.crop((left, top, left + width - GAP, top + height - GAP))


def _to_image(pixels_CHW: Tensor) -> Image.Image:
    pixels_HWC = pixels_CHW.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(pixels_HWC[..., 0] if pixels_CHW.shape[0] == 1 else pixels_HWC)
