"""Augment as in Keras' ADA example (Beres 2021): flip, shift, rotate and zoom.

For each picture, either all four operations are applied or none. As in the example, shifts are by
whole pixels (interpolation "nearest"), zoom only magnifies, and edges are mirrored (fill mode
"reflect"). The example has four layers, one for each operation. Here all four operations are
applied as one resampling. Pictures are (B, C, H, W).
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
    """Draw random values of all parameters for each of B = `count` pictures.

    `shift` is the farthest shift, as a fraction of a side. `rotation` is the largest angle, as a
    fraction of a full turn. `zoom` is the largest fraction of a side that is cut off; height and
    width have separate draws.

    Returns three tensors. "values" (B, 6), float64, has the drawn values. "gates" (B, 1) has a
    random number for each picture that `gate` compares with p. "neutral" (B, 6), float64, has the
    values that change nothing.
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
    """Return the parameters by name, each (B,) or (B, 2).

    `drawn` is a result of `draw`. A picture has its drawn values if its random number in "gates" is
    below p. Otherwise it has the values that change nothing.
    """
    values = torch.where(drawn["gates"] < p, drawn["values"], drawn["neutral"])
    return {
        "flip": values[:, 0],
        "angle": values[:, 1],
        "shift": values[:, 2:4],
        "shown": values[:, 4:6],
    }


def apply(images: Tensor, parameters: Parameters) -> Tensor:
    """Apply all operations at once to pictures (B, C, H, W); keep shape and dtype.

    `parameters` is a result of `gate`.
    """
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
