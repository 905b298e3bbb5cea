"""DiffAugment (Zhao et al. 2020, arXiv 2006.10738): random colour, shift and hole, differentiable.

Each operation is a pair of functions: a draw of random parameters for the `chosen` pictures, in
shares of a side instead of pixels, on the CPU; and its application at any size, to all pictures at
once, with the parameters on the pictures' device. Shifts are by whole pixels and exact; a picture
that is not chosen comes out bit for bit. Pictures are (B, C, R, R) in [-1, 1].
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Parameters = dict[str, Tensor]


def draw_color(
    chosen: Tensor, rng: torch.Generator, brightness: float, saturation: float, contrast: float
) -> Parameters:
    """Draw a shift U(-b, b), a factor U(1-s, 1+s) about the grey and U(1-c, 1+c) about the mean."""
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
    """Change brightness, then saturation, then contrast."""
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
    """Draw where a shift lies in its range, (B, 2) in [0, 1); the range is a share of a side."""
    where = torch.rand((len(chosen), 2), generator=rng)
    return {"where": torch.where(chosen[:, None], where, 0.5), "limit": torch.tensor(limit)}


def translation(images: Tensor, parameters: Parameters) -> Tensor:
    """Shift by whole pixels, zero fill."""
    limit = (_side(images) * parameters["limit"] + 0.5).floor()
    # A uniform share of the 2 limit + 1 whole shifts; 0.5 is always a shift of 0.
    shift = ((parameters["where"] * (2 * limit + 1)).floor() - limit).long()
    shifted: Tensor = _Shift.apply(images, shift)
    return shifted


def draw_cutout(chosen: Tensor, rng: torch.Generator, length: float) -> Parameters:
    """Draw a square's centre, (B, 2) in [0, 1); its side, too, is a share of the picture's."""
    where = torch.rand((len(chosen), 2), generator=rng)
    nowhere = torch.where(chosen[:, None], where, -torch.inf)
    return {"centre": nowhere, "length": torch.tensor(length)}


def cutout(images: Tensor, parameters: Parameters) -> Tensor:
    """Blank a square with zeros; what lies outside the picture is cut off."""
    side = _side(images)
    length = (side * parameters["length"] + 0.5).floor()
    start = (parameters["centre"] * (side + 1 - length % 2)).floor() - (length / 2).floor()
    distance_B2S = torch.arange(side, device=images.device) - start[:, :, None]
    rows, columns = ((distance_B2S >= 0) & (distance_B2S < length)).unbind(1)
    blank = rows[:, None, :, None] & columns[:, None, None, :]
    return torch.where(blank, 0.0, images)


class _Shift(torch.autograd.Function):
    """Pictures moved down and right by whole pixels (B, 2); the gradient is moved back."""

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
    """Take each pixel from where it was, zero if that is outside; the result is channels-last."""
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
