"""Augment with the `bgc` operations of StyleGAN2-ADA (Karras et al. 2020, arXiv 2006.06676).

`bgc` stands for blit, geometry, colour. Each operation is applied to each picture independently
with probability p. All geometric operations together are applied as one resampling. There is an
exception for square pictures with only flips, quarter turns and shifts by whole pixels: their
pixels are moved exactly. Pictures are (B, C, H, W) in [-1, 1]: grey, RGB, or RGB with alpha.
Geometric operations move alpha, too. Colour operations do not change it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from fastgan_ray.arithmetic import at_least_float32
from fastgan_ray.augment.geometry import (
    Size,
    change_some,
    unquarter,
    unrotate,
    unscale,
    unshift,
    warp,
    wide,
)

Parameters = dict[str, Tensor]

MAX_SHIFT = 0.125  # share of a side; shifts are by whole pixels
SCALE_OCTAVES = 0.2  # standard deviation of the binary logarithm
STRETCH_OCTAVES = 0.2
FRACTION_SD = 0.125  # share of a side
BRIGHTNESS_SD = 0.2
CONTRAST_OCTAVES = 0.5
SATURATION_OCTAVES = 1.0


def draw(count: int, rng: torch.Generator) -> Parameters:
    """Draw random values of all parameters for each of B = `count` pictures.

    Returns three tensors (B, 15), float64. "values" has the drawn values. "gates" has random
    numbers that `gate` compares with p. "neutral" has the values that change nothing.
    """
    values, gates, neutral = [], [], []
    for name, (sample, unchanged) in _DRAWN.items():
        value = sample(count, rng).double().reshape(count, -1)
        uniform = torch.rand(count, generator=rng).double()
        if name in ROTATIONS:  # two rotations; at least one of them happens with probability p
            uniform = 1 - (1 - uniform).square()
        values.append(value)
        gates.append(uniform[:, None].expand_as(value))
        neutral += value.shape[1] * [unchanged]
    return {
        "values": torch.cat(values, dim=1),
        "gates": torch.cat(gates, dim=1),
        "neutral": torch.tensor(neutral, dtype=torch.float64).expand(count, -1),
    }


def gate(drawn: Parameters, p: Tensor | float) -> Parameters:
    """Return the parameters by name, each (B,) or (B, 2).

    `drawn` is a result of `draw`. A parameter has its drawn value if its random number in "gates"
    is below p. Otherwise it has its neutral value.
    """
    values = torch.where(drawn["gates"] < p, drawn["values"], drawn["neutral"])
    columns = iter(values.unbind(1))
    return {
        name: torch.stack([next(columns), next(columns)], dim=1) if name in PAIRS else next(columns)
        for name in _DRAWN
    }


def apply(images: Tensor, parameters: Parameters) -> Tensor:
    """Change the geometry, and then the colour, of pictures (B, C, H, W); keep shape and dtype.

    `parameters` is a result of `gate`.
    """
    height, width = images.shape[-2:]
    images = warp(images, inverse_geometry(parameters, (height, width)))
    matrix = colour_matrix(parameters)
    changes = (matrix != _basis(matrix.device).unchanged).any(dim=2).any(dim=1)
    change = {1: _lighten, 3: _recolour, 4: _recolour_under_alpha}[images.shape[1]]
    return change_some(images, changes, change, matrix)


def inverse_geometry(parameters: Parameters, size: Size) -> Tensor:
    """Build matrices (B, 3, 3) that map positions in the result to positions in the original.

    `parameters` is a result of `gate`. `size` is the height and width of the pictures in pixels.
    See `geometry` for the coordinates.
    """
    scale, stretch = parameters["scale"], parameters["stretch"]
    return (
        unscale(1 - 2 * parameters["flip"], torch.ones_like(scale))
        @ unquarter(parameters["quarters"], size)
        @ unshift(parameters["shift"], size)
        @ unscale(scale, scale)
        @ unrotate(parameters["angle_before"], size)
        @ unscale(stretch, 1 / stretch)
        @ unrotate(parameters["angle_after"], size)
        @ unshift(parameters["fraction"])
    )


def colour_matrix(parameters: Parameters) -> Tensor:
    """Combine all colour operations in one matrix (B, 3, 4) that is applied to (r, g, b, 1).

    The operations are brightness, contrast, luma flip, hue and saturation. The matrix is exactly
    the identity if all of them are neutral.
    """
    contrast, saturation, hue, luma_flip, brightness = (
        parameters[name][:, None, None]
        for name in ("contrast", "saturation", "hue", "luma_flip", "brightness")
    )
    eye, grey, around_grey, _ = _basis(contrast.device)
    flip = eye - 2 * luma_flip * grey
    turn = eye + hue.sin() * around_grey + (1 - hue.cos()) * (grey - eye)
    saturate = eye + (saturation - 1) * (eye - grey)
    linear = saturate @ turn @ flip * contrast
    offset = linear @ brightness.expand(-1, 3, 1)
    return torch.cat([linear, offset], dim=2)


class _Basis(NamedTuple):
    """The constant matrices from which colour matrices are computed."""

    eye: Tensor
    grey: Tensor
    """The matrix that projects a colour onto the grey axis."""
    around_grey: Tensor
    """The matrix of the cross product with the grey axis, for rotations of the hue."""
    unchanged: Tensor
    """The colour matrix that changes nothing."""


@cache
def _basis(device: torch.device) -> _Basis:
    """Return the constant matrices, cached for each device so that no step waits for a copy."""
    cross = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=torch.float64) / 3**0.5
    parts = torch.eye(3), torch.full((3, 3), 1.0).double() / 3, cross, torch.eye(3, 4)
    return _Basis(*(part.to(wide(device)).to(device) for part in parts))


def _recolour(images: Tensor, matrix: Tensor) -> Tensor:
    with torch.autocast(images.device.type, enabled=False):
        precise = at_least_float32(images)
        matrix = matrix.to(precise)
        changed = torch.baddbmm(matrix[:, :3, 3:], matrix[:, :3, :3], precise.flatten(2))
    return changed.reshape(images.shape).to(images.dtype)


def _recolour_under_alpha(images: Tensor, matrix: Tensor) -> Tensor:
    """Change the colours of pictures (B, 4, H, W), but not their alpha.

    `matrix` is a result of `colour_matrix`.
    """
    return torch.cat([_recolour(images[:, :3], matrix), images[:, 3:]], dim=1)


def _lighten(images: Tensor, matrix: Tensor) -> Tensor:
    """Change the lightness of grey pictures (B, 1, H, W).

    `matrix` is a result of `colour_matrix`. The result is the same as repeating the picture in
    three channels, changing the colours and converting back to grey. Hue and saturation have no
    effect.
    """
    precise = at_least_float32(images)
    factor = matrix[:, :, :3].sum(dim=2).mean(dim=1)[:, None, None, None].to(precise)
    offset = matrix[:, :, 3].mean(dim=1)[:, None, None, None].to(precise)
    return (precise * factor + offset).to(images.dtype)


def _uniform(limit: float, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return limit * (2 * torch.rand(shape, generator=rng, dtype=torch.float64) - 1)


def _normal(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def _octaves(sd: float) -> Callable[[int, torch.Generator], Tensor]:
    return lambda count, rng: (sd * _normal((count,), rng)).exp2()


def _choice(of: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda count, rng: torch.randint(of, (count,), generator=rng)


PAIRS = ("shift", "fraction")  # these parameters have two columns, right and down; others have one
ROTATIONS = ("angle_before", "angle_after")
# The function that draws each parameter, and its neutral value, in the order of drawing.
_DRAWN: dict[str, tuple[Callable[[int, torch.Generator], Tensor], int]] = {
    "flip": (_choice(2), 0),
    "quarters": (_choice(4), 0),
    "shift": (lambda count, rng: _uniform(MAX_SHIFT, (count, 2), rng), 0),
    "scale": (_octaves(SCALE_OCTAVES), 1),
    "angle_before": (lambda count, rng: _uniform(math.pi, (count,), rng), 0),
    "stretch": (_octaves(STRETCH_OCTAVES), 1),
    "angle_after": (lambda count, rng: _uniform(math.pi, (count,), rng), 0),
    "fraction": (lambda count, rng: FRACTION_SD * _normal((count, 2), rng), 0),
    "brightness": (lambda count, rng: BRIGHTNESS_SD * _normal((count,), rng), 0),
    "contrast": (_octaves(CONTRAST_OCTAVES), 1),
    "luma_flip": (_choice(2), 0),
    "hue": (lambda count, rng: _uniform(math.pi, (count,), rng), 0),
    "saturation": (_octaves(SATURATION_OCTAVES), 1),
}
