"""DiffAugment (Zhao et al. 2020, arXiv 2006.10738): random colour, shift and hole, differentiable.

Each operation is a pair of functions: a draw of random parameters for the `chosen` pictures, in
shares of a side instead of pixels, and its application at any size. Shifts are by whole pixels and
exact; a picture that is not chosen comes out bit for bit. Pictures are (B, C, H, W) in [-1, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Parameters = dict[str, Tensor]


def draw_color(
    chosen: Tensor, rng: torch.Generator, brightness: float, saturation: float, contrast: float
) -> Parameters:
    """A shift U(-b, b), a factor U(1-s, 1+s) about the grey and U(1-c, 1+c) about the mean."""
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
    """Brightness, then saturation, then contrast."""
    brightness, saturation, contrast = (
        parameters[name].to(images)[:, None, None, None]
        for name in ("brightness", "saturation", "contrast")
    )
    changed = images + brightness
    grey = changed.mean(dim=1, keepdim=True)
    changed = (changed - grey) * saturation + grey
    mean = changed.mean(dim=(1, 2, 3), keepdim=True)
    changed = (changed - mean) * contrast + mean
    return torch.where(parameters["chosen"].to(images.device)[:, None, None, None], changed, images)


def draw_translation(chosen: Tensor, rng: torch.Generator, limit: float) -> Parameters:
    """Where a shift lies in its range, (B, 2) in [0, 1), and the range as a share of a side."""
    where = torch.rand((len(chosen), 2), generator=rng)
    return {"where": torch.where(chosen[:, None], where, 0.5), "limit": torch.tensor(limit)}


def translation(images: Tensor, parameters: Parameters) -> Tensor:
    """Shifts by whole pixels, zero fill."""
    sides = torch.tensor(images.shape[-2:])
    limit = (sides * float(parameters["limit"]) + 0.5).floor()
    # A uniform share of the 2 limit + 1 whole shifts; 0.5 is always a shift of 0.
    shifts = ((parameters["where"] * (2 * limit + 1)).floor() - limit).long().tolist()
    return torch.stack(
        [F.pad(image, (x, -x, y, -y)) for image, (y, x) in zip(images, shifts, strict=True)]
    )


def draw_cutout(chosen: Tensor, rng: torch.Generator, length: float) -> Parameters:
    """A square's centre, (B, 2) in [0, 1), and its side, both as shares of the picture's."""
    where = torch.rand((len(chosen), 2), generator=rng)
    nowhere = torch.where(chosen[:, None], where, -torch.inf)
    return {"centre": nowhere, "length": torch.tensor(length)}


def cutout(images: Tensor, parameters: Parameters) -> Tensor:
    """Blanks a square with zeros; what lies outside the picture is cut off."""
    inside = []
    for axis, side in enumerate(images.shape[-2:]):
        length = int(side * float(parameters["length"]) + 0.5)
        centre = (parameters["centre"][:, axis, None] * (side + 1 - length % 2)).floor()
        start = centre - length // 2
        position = torch.arange(side)[None]
        inside.append((position >= start) & (position < start + length))
    blank = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(blank.to(images.device), 0.0)
