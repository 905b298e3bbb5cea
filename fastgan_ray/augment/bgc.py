"""StyleGAN2-ADA's `bgc` pipe (Karras et al. 2020, arXiv 2006.06676): blit, geometry, colour.

Each operation is applied to each picture with probability p, independently. Flips, quarter turns
and whole-pixel shifts are exact where nothing else moves the picture; otherwise all of the geometry
is one resampling. Square RGB pictures (B, 3, R, R) in [-1, 1].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastgan_ray.augment.geometry import (
    change_some,
    unquarter,
    unrotate,
    unscale,
    unshift,
    warp,
)

Parameters = dict[str, Tensor]

MAX_SHIFT = 0.125  # share of a side, whole pixels
SCALE_OCTAVES = 0.2  # standard deviation of the binary logarithm
STRETCH_OCTAVES = 0.2
FRACTION_SD = 0.125  # share of a side
BRIGHTNESS_SD = 0.2
CONTRAST_OCTAVES = 0.5
SATURATION_OCTAVES = 1.0

_EYE = torch.eye(3, dtype=torch.float64)
_GREY = torch.full((3, 3), 1 / 3, dtype=torch.float64)  # projects a colour onto the grey axis
# Cross product with the grey axis: the generator of hue rotations.
_AROUND_GREY = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=torch.float64) / 3**0.5


def draw(count: int, p: float, rng: torch.Generator) -> Parameters:
    """Parameters in float64; neutral where the gate of that operation stays shut.

    The two rotations are gated such that either happens with probability p.
    """
    p_rotate = 1 - math.sqrt(1 - p)
    return {
        "flip": _gated(p, torch.randint(2, (count,), generator=rng), 0, rng),
        "quarters": _gated(p, torch.randint(4, (count,), generator=rng), 0, rng),
        "shift": _gated(p, _uniform(MAX_SHIFT, (count, 2), rng), 0, rng),
        "scale": _gated(p, _power_of_two(SCALE_OCTAVES, count, rng), 1, rng),
        "angle_before": _gated(p_rotate, _uniform(math.pi, (count,), rng), 0, rng),
        "stretch": _gated(p, _power_of_two(STRETCH_OCTAVES, count, rng), 1, rng),
        "angle_after": _gated(p_rotate, _uniform(math.pi, (count,), rng), 0, rng),
        "fraction": _gated(p, FRACTION_SD * _normal((count, 2), rng), 0, rng),
        "brightness": _gated(p, BRIGHTNESS_SD * _normal((count,), rng), 0, rng),
        "contrast": _gated(p, _power_of_two(CONTRAST_OCTAVES, count, rng), 1, rng),
        "luma_flip": _gated(p, torch.randint(2, (count,), generator=rng), 0, rng),
        "hue": _gated(p, _uniform(math.pi, (count,), rng), 0, rng),
        "saturation": _gated(p, _power_of_two(SATURATION_OCTAVES, count, rng), 1, rng),
    }


def apply(images: Tensor, parameters: Parameters) -> Tensor:
    """Geometry, then colour; same shape and dtype. ValueError if not square."""
    images = warp(images, inverse_geometry(parameters, images.shape[-1]))
    matrix = colour_matrix(parameters)
    identity = (matrix == torch.eye(4, dtype=torch.float64)).all(dim=(1, 2))
    return change_some(images, ~identity, _recolour, matrix)


def inverse_geometry(parameters: Parameters, side: int) -> Tensor:
    """From places in the result to places in the original, (B, 3, 3); see `geometry`."""
    scale, stretch = parameters["scale"], parameters["stretch"]
    return (
        unscale(1 - 2 * parameters["flip"].double(), torch.ones_like(scale))
        @ unquarter(parameters["quarters"])
        @ unshift(parameters["shift"], side)
        @ unscale(scale, scale)
        @ unrotate(parameters["angle_before"])
        @ unscale(stretch, 1 / stretch)
        @ unrotate(parameters["angle_after"])
        @ unshift(parameters["fraction"])
    )


def colour_matrix(parameters: Parameters) -> Tensor:
    """Brightness, contrast, luma flip, hue and saturation as one matrix (B, 4, 4) on (r, g, b, 1).

    Exactly the identity where all of them are neutral.
    """
    contrast, saturation, hue = (
        parameters[name][:, None, None] for name in ("contrast", "saturation", "hue")
    )
    flip = _EYE - 2 * parameters["luma_flip"][:, None, None] * _GREY
    turn = _EYE + hue.sin() * _AROUND_GREY + (1 - hue.cos()) * (_GREY - _EYE)
    saturate = _EYE + (saturation - 1) * (_EYE - _GREY)
    linear = saturate @ turn @ flip * contrast
    offset = linear @ parameters["brightness"][:, None, None].expand(-1, 3, 1)
    last = torch.tensor([0, 0, 0, 1], dtype=torch.float64).expand(len(linear), 1, 4)
    return torch.cat([torch.cat([linear, offset], dim=2), last], dim=1)


def _recolour(images: Tensor, matrix: Tensor) -> Tensor:
    with torch.autocast(images.device.type, enabled=False):
        precise = images.to(torch.promote_types(images.dtype, torch.float32))
        matrix = matrix.to(precise)
        changed = torch.baddbmm(matrix[:, :3, 3:], matrix[:, :3, :3], precise.flatten(2))
    return changed.reshape(images.shape).to(images.dtype)


def _gated(p: float, value: Tensor, neutral: int, rng: torch.Generator) -> Tensor:
    chosen = torch.rand(len(value), generator=rng) < p
    return torch.where(chosen.reshape(-1, *[1] * (value.ndim - 1)), value, neutral)


def _uniform(limit: float, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return limit * (2 * torch.rand(shape, generator=rng, dtype=torch.float64) - 1)


def _normal(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def _power_of_two(octaves: float, count: int, rng: torch.Generator) -> Tensor:
    return (octaves * _normal((count,), rng)).exp2()
