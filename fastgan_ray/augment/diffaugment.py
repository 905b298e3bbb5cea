"""Augment with DiffAugment (Zhao et al. 2020, arXiv 2006.10738): random colour, shift and hole.

Each operation has two functions. The first function draws random parameters on the CPU. The
parameters are fractions of a side, not pixels. The second function applies the parameters to
pictures of any size, on their device. Pictures that are not `chosen` do not change.

Pictures are (B, C, H, W) in [-1, 1]: grey, RGB, or RGB with alpha. `color` does not change alpha.
Shifts are by whole pixels, without interpolation. Shifts and holes fill all channels with zeros,
which are grey, and half transparent if there is alpha. Natural pictures have no such areas. So if
generated pictures have them, the augmentation has leaked.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Parameters = dict[str, Tensor]


def draw_color(
    chosen: Tensor, rng: torch.Generator, brightness: float, saturation: float, contrast: float
) -> Parameters:
    """Draw the parameters of `color` for each picture, on the CPU.

    Let b, s and c be `brightness`, `saturation` and `contrast`. The drawn brightness is U(-b, b),
    the saturation U(1 - s, 1 + s) and the contrast U(1 - c, 1 + c). `chosen` (bool, (B,)) says
    which pictures change. Returns {"chosen", "brightness", "saturation", "contrast"}, each (B,).
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
    """Change brightness, then saturation, then contrast of the chosen pictures (B, C, H, W).

    `parameters` is a result of `draw_color`. Brightness is added. Saturation multiplies the
    distance of each pixel from its grey value. Contrast multiplies the distance from the picture's
    mean. Saturation has no effect on grey pictures.
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
    """Draw the shifts of pictures: {"where": (B, 2) in [0, 1), "limit": scalar}.

    "where" has the shifts down and right: 0 is the farthest shift up or left, and 0.5 is no shift.
    `chosen` (bool, (B,)) says which pictures are shifted. `limit` is the farthest shift, as a
    fraction of the height or width.
    """
    where = torch.rand((len(chosen), 2), generator=rng)
    return {"where": torch.where(chosen[:, None], where, 0.5), "limit": torch.tensor(limit)}


def translation(images: Tensor, parameters: Parameters) -> Tensor:
    """Shift pictures (B, C, H, W) by whole pixels; fill with zeros.

    `parameters` is a result of `draw_translation`.
    """
    limit = (_sides(images) * parameters["limit"] + 0.5).floor()
    # Convert [0, 1) to one of 2 * limit + 1 shifts in pixels, all equally likely; 0.5 means no
    # shift.
    shift = ((parameters["where"] * (2 * limit + 1)).floor() - limit).long()
    shifted: Tensor = _Shift.apply(images, shift)
    return shifted


def draw_cutout(chosen: Tensor, rng: torch.Generator, length: float) -> Parameters:
    """Draw the holes of pictures: {"centre": (B, 2) in [0, 1), "length": scalar}.

    "centre" has the row and column of a hole's centre, as fractions of height and width. `chosen`
    (bool, (B,)) says which pictures get a hole; the centre of the others is -inf. `length` is the
    side of a hole, as a fraction of the height and of the width.
    """
    where = torch.rand((len(chosen), 2), generator=rng)
    nowhere = torch.where(chosen[:, None], where, -torch.inf)
    return {"centre": nowhere, "length": torch.tensor(length)}


def cutout(images: Tensor, parameters: Parameters) -> Tensor:
    """Fill the hole, a rectangle, of each chosen picture (B, C, H, W) with zeros.

    `parameters` is a result of `draw_cutout`. The rectangle has the proportions of the picture, and
    may lie partly outside the picture.
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
    """Shift pictures down and right by whole pixels (B, 2); the backward pass shifts back."""

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
    """Shift pictures (B, C, H, W) down and right by `shift` (B, 2) pixels; fill with zeros.

    The result is in the memory format channels_last.
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
    """Return the side in pixels if pictures are square; else height and width as a tensor (2,)."""
    height, width = images.shape[-2:]
    if height == width:
        return width
    # Fill the tensor on the device: a copy from the host would wait for the device.
    return torch.cat(
        [torch.full((1,), float(side), device=images.device) for side in (height, width)]
    )


def _distances(images: Tensor, start_B2: Tensor) -> tuple[Tensor, Tensor]:
    """Return row indices minus start rows (B, H), and column indices minus start columns (B, W).

    `start_B2` has a start row and a start column, in pixels, for each picture.
    """
    row, column = (torch.arange(side, device=images.device) for side in images.shape[-2:])
    return row - start_B2[:, :1], column - start_B2[:, 1:]
