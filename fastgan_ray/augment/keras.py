"""Augment as in Keras' ADA example (Beres 2021): flip, shift, rotate and zoom together.

For each picture, either all four operations are applied or none. As in the example's four layers,
shifts are by whole pixels (interpolation "nearest"), zoom only magnifies, and edges are mirrored
(fill mode "reflect"). Here all four are applied as one resampling. Pictures are (B, C, H, W).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastgan_ray.augment.geometry import unrotate, unscale, unshift, warp

Parameters = dict[str, Tensor]


def draw(
    count: int, rng: torch.Generator, shift: float, rotation: float, zoom: float
) -> Parameters:
    """Draw the random parameters of B = `count` pictures.

    Returns "values" (B, 6) in float64; "gates" (B, 1), a random number for each picture; and
    "neutral" (B, 6), the values that change nothing. `gate` uses "neutral" for the pictures whose
    random number is not below p.

    `shift` is the farthest shift, as a share of a side. `rotation` is the largest angle, as a share
    of a full turn. `zoom` is the largest share of a side that is cut off; height and width have
    separate draws.
    """
    chosen = torch.rand(count, generator=rng)
    flip, angle = torch.rand((2, count), generator=rng, dtype=torch.float64)
    shifts, zooms = torch.rand((2, count, 2), generator=rng, dtype=torch.float64)
    turn = torch.stack([(flip < 0.5).double(), math.tau * rotation * (2 * angle - 1)], dim=1)
    return {
        "gates": chosen[:, None],
        "values": torch.cat([turn, shift * (2 * shifts - 1), 1 - zoom * zooms], dim=1),
        "neutral": torch.tensor([0.0, 0, 0, 0, 1, 1], dtype=torch.float64).expand(count, -1),
    }


def gate(drawn: Parameters, p: Tensor | float) -> Parameters:
    """Return the parameters by name.

    With probability 1 - p, all parameters of a picture have the values that change nothing.
    """
    values = torch.where(drawn["gates"] < p, drawn["values"], drawn["neutral"])
    return {
        "flip": values[:, 0],
        "angle": values[:, 1],
        "shift": values[:, 2:4],
        "shown": values[:, 4:6],
    }


def apply(images: Tensor, parameters: Parameters) -> Tensor:
    """Apply all operations at once to pictures (B, C, H, W); keep shape and dtype."""
    size = images.shape[-2], images.shape[-1]
    mirror = 1 - 2 * parameters["flip"]
    width, height = parameters["shown"].unbind(1)
    inverse = (
        unscale(mirror, torch.ones_like(mirror))
        @ unshift(parameters["shift"], size)
        @ unrotate(parameters["angle"], size)
        @ unscale(1 / width, 1 / height)
    )
    return warp(images, inverse)
