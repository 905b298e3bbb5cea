"""DiffAugment (Zhao et al. 2020, arXiv 2006.10738): the same random change for D's every input.

A draw is made apart from its application, and in shares of a side instead of pixels, so that the
generator's two outputs get the same change. Everything is differentiable in the pictures; shifts
are by whole pixels and exact. Pictures are (B, C, H, W) in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan_ray.config.schema import AugmentConfig, policy_ops

Draw = dict[str, Tensor]


def draw(config: AugmentConfig, count: int, rng: torch.Generator) -> Draw:
    """Random parameters for `count` pictures, on the CPU; neutral where a picture is not chosen."""
    chosen = torch.rand(count, generator=rng) < config.probability
    parameters: Draw = {}
    for op in policy_ops(config.policy):
        parameters |= OPS[op].draw(config, chosen, rng)
    return parameters


def apply(images_BCHW: Tensor, parameters: Draw, config: AugmentConfig) -> Tensor:
    """The pictures under one `draw`, operations in the policy's order; same shape and dtype."""
    for op in policy_ops(config.policy):
        images_BCHW = OPS[op].apply(images_BCHW, parameters, config)
    return images_BCHW


def _uniform(low: float, high: float, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=rng)


def _draw_color(config: AugmentConfig, chosen: Tensor, rng: torch.Generator) -> Draw:
    amounts = {
        "brightness": (0.0, config.brightness),
        "saturation": (1.0, config.saturation),
        "contrast": (1.0, config.contrast),
    }
    return {
        name: torch.where(
            chosen, _uniform(neutral - size, neutral + size, chosen.shape, rng), neutral
        )
        for name, (neutral, size) in amounts.items()
    }


def _apply_color(images: Tensor, parameters: Draw, config: AugmentConfig) -> Tensor:
    brightness, saturation, contrast = (
        parameters[name].to(images)[:, None, None, None]
        for name in ("brightness", "saturation", "contrast")
    )
    images = images + brightness
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * saturation + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * contrast + mean


def _draw_translation(config: AugmentConfig, chosen: Tensor, rng: torch.Generator) -> Draw:
    where = torch.rand((len(chosen), 2), generator=rng)
    return {"shift": torch.where(chosen[:, None], where, 0.5)}


def _apply_translation(images: Tensor, parameters: Draw, config: AugmentConfig) -> Tensor:
    sides = torch.tensor(images.shape[-2:])
    limit = (sides * config.translation + 0.5).floor()
    # A uniform share of the 2 limit + 1 whole shifts; 0.5 is always a shift of 0.
    shifts = ((parameters["shift"] * (2 * limit + 1)).floor() - limit).long().tolist()
    return torch.stack(
        [F.pad(image, (x, -x, y, -y)) for image, (y, x) in zip(images, shifts, strict=True)]
    )


def _draw_cutout(config: AugmentConfig, chosen: Tensor, rng: torch.Generator) -> Draw:
    where = torch.rand((len(chosen), 2), generator=rng)
    return {"centre": torch.where(chosen[:, None], where, -torch.inf)}


def _apply_cutout(images: Tensor, parameters: Draw, config: AugmentConfig) -> Tensor:
    inside = []
    for axis, side in enumerate(images.shape[-2:]):
        length = int(side * config.cutout + 0.5)
        centre = (parameters["centre"][:, axis, None] * (side + 1 - length % 2)).floor()
        start = centre - length // 2
        position = torch.arange(side)[None]
        inside.append((position >= start) & (position < start + length))
    blank = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(blank.to(images.device), 0.0)


class Op(NamedTuple):
    """One operation: how its parameters are drawn, and how they change pictures."""

    draw: Callable[[AugmentConfig, Tensor, torch.Generator], Draw]
    apply: Callable[[Tensor, Draw, AugmentConfig], Tensor]


OPS: dict[str, Op] = {
    "color": Op(_draw_color, _apply_color),
    "translation": Op(_draw_translation, _apply_translation),
    "cutout": Op(_draw_cutout, _apply_cutout),
}
