"""Convert pictures to and from [-1, 1]; save them as 8-bit files and as grids of tiles.

This module does not use torchvision, because its import would slow down the start of every trial.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_tensor(image: Image.Image) -> Tensor:
    """Convert an RGB picture to a tensor (3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1


def to_uint8(images_BCHW: Tensor) -> Tensor:
    """Convert pictures in [-1, 1] to 8 bits (0 to 255), as in a file: same shape, on the CPU."""
    return ((images_BCHW.float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def save_image(image_CHW: Tensor, path: Path) -> None:
    """Write one picture in [-1, 1] as a PNG."""
    Image.fromarray(to_uint8(image_CHW).permute(1, 2, 0).numpy()).save(path)


def save_grid(images_BCHW: Tensor, path: Path, columns: int | None = None, gap: int = 2) -> None:
    """Write pictures in [-1, 1] as tiles of a PNG, row by row.

    `columns` is the number of tiles in a row; None: about as many as rows. `gap` is in pixels.
    """
    count, _, height, width = images_BCHW.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = torch.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255)
    sheet = sheet.to(torch.uint8)
    for index, tile in enumerate(to_uint8(images_BCHW).permute(0, 2, 3, 1)):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet.numpy()).save(path)
