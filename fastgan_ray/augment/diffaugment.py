"""Augment with DiffAugment (Zhao et al. 2020, arXiv 2006.10738): random colour, shift and hole.

Each operation has two functions. The first one draws random parameters for the `chosen` pictures,
on the CPU, as shares of a side instead of pixels. The second one applies the parameters to all
pictures at once, at any size, on the pictures' device. Shifts are exact, by whole pixels. Pictures
that are not chosen do not change. Pictures are (B, C, R, R) in [-1, 1].
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
    """Change brightness, then saturation, then contrast of pictures (B, C, R, R)."""
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

    `limit` is the farthest shift, as a share of a side.
    """
    where = torch.rand((len(chosen), 2), generator=rng)
    return {"where": torch.where(chosen[:, None], where, 0.5), "limit": torch.tensor(limit)}


def translation(images: Tensor, parameters: Parameters) -> Tensor:
    """Shift pictures (B, C, R, R) by whole pixels; fill with zeros."""
    limit = (_side(images) * parameters["limit"] + 0.5).floor()
    # Choose one of the 2 * limit + 1 whole shifts uniformly; 0.5 always means no shift.
    shift = ((parameters["where"] * (2 * limit + 1)).floor() - limit).long()
    shifted: Tensor = _Shift.apply(images, shift)
    return shifted


def draw_cutout(chosen: Tensor, rng: torch.Generator, length: float) -> Parameters:
    """Draw the centres of squares, (B, 2) in [0, 1); `length` is a share of the picture's side."""
    where = torch.rand((len(chosen), 2), generator=rng)
    nowhere = torch.where(chosen[:, None], where, -torch.inf)
    return {"centre": nowhere, "length": torch.tensor(length)}


def cutout(images: Tensor, parameters: Parameters) -> Tensor:
    """Fill a square of each picture (B, C, R, R) with zeros; it may lie partly outside."""
    side = _side(images)
    length = (side * parameters["length"] + 0.5).floor()
    start = (parameters["centre"] * (side + 1 - length % 2)).floor() - (length / 2).floor()
    distance_B2S = torch.arange(side, device=images.device) - start[:, :, None]
    rows, columns = ((distance_B2S >= 0) & (distance_B2S < length)).unbind(1)
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
    """Shift pictures (B, C, R, R) by `shift` (B, 2) pixels; fill with zeros.

    The result has its channels last in memory.
    """
    count, channels, side, _ = images.shape
    source_B2S = torch.arange(side, device=images.device) - shift[:, :, None]
    nearest_B2S = source_B2S.clamp(0, side - 1)
    inside_B2S = source_B2S == nearest_B2S
    first_B11 = torch.arange(0, count * side**2, side**2, device=images.device)[:, None, None]
    row, column = nearest_B2S.unbind(1)
    pixel_BSS = (first_B11 + side * row[:, :, None]) + column[:, None, :]
    rows_NC = images.permute(0, 2, 3, 1).reshape(-1, channels)
    moved = rows_NC.index_select(0, pixel_BSS.flatten()).view(count, side, side, channels)
    inside = inside_B2S[:, 0, None, :, None] & inside_B2S[:, 1, None, None, :]
    return torch.where(inside, moved.permute(0, 3, 1, 2), 0.0)


def _side(images: Tensor) -> int:
    height, side = images.shape[-2:]
    if height != side:
        raise ValueError(f"pictures must be square (got {height} x {side})")
    return side
