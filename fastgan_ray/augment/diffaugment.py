"""Augment with DiffAugment (Zhao et al. 2020, arXiv 2006.10738): random colour, shift and hole.

Each operation has two functions. The first draws random parameters for the `chosen` pictures on the
CPU; they are fractions of a side, not pixels. The second applies the parameters to all pictures, of
any size, on their device. Shifts are exact, by whole pixels. Pictures that are not chosen do not
change. Pictures are (B, C, H, W) in [-1, 1]: grey, RGB, or RGB with alpha. `color` does not change
alpha. Shifts and holes fill all channels with zeros; with alpha, this is half transparent grey.
Natural pictures have no such areas, so you can see if the generator has learned to draw them, i.e.
if the augmentation has leaked.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Parameters = dict[str, Tensor]


def draw_color(
    chosen: Tensor, rng: torch.Generator, brightness: float, saturation: float, contrast: float
) -> Parameters:
    """Draw brightness U(-b, b), saturation U(1-s, 1+s) and contrast U(1-c, 1+c).

    b, s and c are the arguments. Brightness is added. Saturation scales the distance from grey, and
    contrast scales the distance from the mean.
    """
    ranges = {
        "brightness": (-brightness, brightness),
        "saturation": (1 - saturation, 1 + saturation),
        "contrast": (1 - contrast, 1 + contrast),
    }
    drawn = {
        name: low + (high - low) * torch.rand(len(chosen), generator=rng)
        for name, (low, high) in ranges.items()
    }
    return {"chosen": chosen} | drawn


def color(images: Tensor, parameters: Parameters) -> Tensor:
    """Change brightness, then saturation, then contrast of pictures (B, C, H, W).

    Saturation has no effect on grey pictures.
    """
    if images.shape[1] == 4:
        return torch.cat([color(images[:, :3], parameters), images[:, 3:]], dim=1)
    brightness, saturation, contrast = (
        parameters[name].to(images.dtype)[:, None, None, None]
        for name in ("brightness", "saturation", "contrast")
    )
    changed = images + brightness
    grey = changed.mean(dim=1, keepdim=True)
    changed = (changed - grey) * saturation + grey
    mean = changed.mean(dim=(1, 2, 3), keepdim=True)
    changed = (changed - mean) * contrast + mean
    return torch.where(parameters["chosen"][:, None, None, None], changed, images)


def draw_translation(chosen: Tensor, rng: torch.Generator, limit: float) -> Parameters:
    """Draw shifts (B, 2) in [0, 1): 0 is the farthest shift up or left, 0.5 is no shift.

    `limit` is the farthest shift, as a share of the height or width.
    """
    where = torch.rand((len(chosen), 2), generator=rng)
    return {"where": torch.where(chosen[:, None], where, 0.5), "limit": torch.tensor(limit)}


def translation(images: Tensor, parameters: Parameters) -> Tensor:
    """Shift pictures (B, C, H, W) by whole pixels; fill with zeros."""
    limit = (_sides(images) * parameters["limit"] + 0.5).floor()
    # Convert [0, 1) to one of 2 * limit + 1 shifts in pixels, all equally likely; 0.5 means no
    # shift.
    shift = ((parameters["where"] * (2 * limit + 1)).floor() - limit).long()
    shifted: Tensor = _Shift.apply(images, shift)
    return shifted


def draw_cutout(chosen: Tensor, rng: torch.Generator, length: float) -> Parameters:
    """Draw the centres of holes, (B, 2) in [0, 1); `length` is a hole's share of each side."""
    where = torch.rand((len(chosen), 2), generator=rng)
    nowhere = torch.where(chosen[:, None], where, -torch.inf)
    return {"centre": nowhere, "length": torch.tensor(length)}


def cutout(images: Tensor, parameters: Parameters) -> Tensor:
    """Fill a rectangle of each picture (B, C, H, W) with zeros.

    The rectangle has the proportions of the picture and may lie partly outside the picture.
    """
    side = _sides(images)
    length = (side * parameters["length"] + 0.5).floor()
    start = (parameters["centre"] * (side + 1 - length % 2)).floor() - (length / 2).floor()
    height, width = images.shape[-2:]
    if height == width:
        distance_B2S = torch.arange(width, device=images.device) - start[:, :, None]
        rows, columns = ((distance_B2S >= 0) & (distance_B2S < length)).unbind(1)
    else:
        rows, columns = (
            (distance_BS >= 0) & (distance_BS < length[axis])
            for axis, distance_BS in enumerate(_distances(images, start))
        )
    blank = rows[:, None, :, None] & columns[:, None, None, :]
    return torch.where(blank, 0.0, images)


class _Shift(torch.autograd.Function):
    """Shift pictures down and right by whole pixels (B, 2); shift the gradient back."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, shift: Tensor) -> Tensor:  # noqa: ANN401 - autograd has no type
        ctx.save_for_backward(shift)
        return _shifted(images, shift)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 - autograd has no type
        (shift,) = ctx.saved_tensors
        moved: Tensor = _Shift.apply(gradient, -shift)
        return moved, None


def _shifted(images: Tensor, shift: Tensor) -> Tensor:
    """Shift pictures (B, C, H, W) by `shift` (B, 2) pixels; fill with zeros.

    The result has its channels last in memory.
    """
    count, channels, height, width = images.shape
    if height == width:
        source_B2S = torch.arange(width, device=images.device) - shift[:, :, None]
        nearest_B2S = source_B2S.clamp(0, width - 1)
        row, column = nearest_B2S.unbind(1)
        row_inside, column_inside = (source_B2S == nearest_B2S).unbind(1)
    else:
        source_row, source_column = _distances(images, shift)
        row, column = source_row.clamp(0, height - 1), source_column.clamp(0, width - 1)
        row_inside, column_inside = source_row == row, source_column == column
    area = height * width
    first_B11 = torch.arange(0, count * area, area, device=images.device)[:, None, None]
    pixel_BHW = (first_B11 + width * row[:, :, None]) + column[:, None, :]
    pixels_NC = images.permute(0, 2, 3, 1).reshape(-1, channels)
    moved = pixels_NC.index_select(0, pixel_BHW.flatten()).view(count, height, width, channels)
    inside = row_inside[:, None, :, None] & column_inside[:, None, None, :]
    return torch.where(inside, moved.permute(0, 3, 1, 2), 0.0)


def _sides(images: Tensor) -> int | Tensor:
    """Return the side if pictures are square; otherwise height and width as a tensor (2,)."""
    height, width = images.shape[-2:]
    if height == width:
        return width
    # Fill the tensor on the device: a copy from the host would wait for the device.
    return torch.cat(
        [torch.full((1,), float(side), device=images.device) for side in (height, width)]
    )


def _distances(images: Tensor, start_B2: Tensor) -> tuple[Tensor, Tensor]:
    """Return the offsets of all rows (B, H) and all columns (B, W) from a pixel of each picture.

    `start_B2` has the row and the column of this pixel.
    """
    row, column = (torch.arange(side, device=images.device) for side in images.shape[-2:])
    return row - start_B2[:, :1], column - start_B2[:, 1:]
