"""An augmentation policy: the same random changes for everything that D sees.

A draw is made apart from its application and knows no size, so that the generator's two outputs
get the same change. Everything is differentiable in the pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from fastgan_ray.augment import bgc, diffaugment, keras
from fastgan_ray.config.run_config import AugmentConfig, policy_ops

Parameters = dict[str, Tensor]
Draw = dict[str, Parameters]


def draw(config: AugmentConfig, count: int, rng: torch.Generator, p: float) -> Draw:
    """Random parameters for `count` pictures by operation, in the policy's order, on the CPU.

    `p` in [0, 1] is the probability of the adaptive operations (`bgc`, `keras`); the others go by
    `config.probability`, the same pictures for each.
    """
    chosen = torch.rand(count, generator=rng) < config.probability
    return {op: OPS[op].draw(config, chosen, p, rng) for op in policy_ops(config.policy)}


def each(drawn: Draw, choose: Callable[[Tensor], Tensor]) -> Draw:
    """A `draw` for those pictures that `choose` takes of rows that stand for all of them."""
    return {
        op: {name: choose(value) if value.ndim else value for name, value in parameters.items()}
        for op, parameters in drawn.items()
    }


def apply(images_BCHW: Tensor, drawn: Draw) -> Tensor:
    """The pictures in [-1, 1] under one `draw`; same shape and dtype."""
    for op, parameters in drawn.items():
        images_BCHW = OPS[op].apply(images_BCHW, parameters)
    return images_BCHW


class Op(NamedTuple):
    """One operation: how its parameters are drawn, and how they change pictures."""

    draw: Callable[[AugmentConfig, Tensor, float, torch.Generator], Parameters]
    apply: Callable[[Tensor, Parameters], Tensor]


OPS: dict[str, Op] = {
    "color": Op(
        lambda config, chosen, p, rng: diffaugment.draw_color(
            chosen, rng, config.brightness, config.saturation, config.contrast
        ),
        diffaugment.color,
    ),
    "translation": Op(
        lambda config, chosen, p, rng: diffaugment.draw_translation(
            chosen, rng, config.translation
        ),
        diffaugment.translation,
    ),
    "cutout": Op(
        lambda config, chosen, p, rng: diffaugment.draw_cutout(chosen, rng, config.cutout),
        diffaugment.cutout,
    ),
    "bgc": Op(lambda config, chosen, p, rng: bgc.draw(len(chosen), p, rng), bgc.apply),
    "keras": Op(lambda config, chosen, p, rng: keras.draw(len(chosen), p, rng), keras.apply),
}
