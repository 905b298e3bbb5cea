"""An augmentation policy: the same random changes for everything that D sees.

A draw is made apart from its application and knows no size, so that the generator's two outputs
get the same change; it is made on the CPU, and applied where the pictures are, without a wait.
Everything is differentiable in the pictures.
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


def draw(config: AugmentConfig, count: int, rng: torch.Generator) -> Draw:
    """Draw random numbers for `count` pictures by operation, in the policy's order, on the CPU.

    `color`, `translation` and `cutout` change the same pictures, by `config.probability`; the
    numbers of the adaptive operations are for `gate`.
    """
    chosen = torch.rand(count, generator=rng) < config.probability
    return {op: OPS[op].draw(config, chosen, rng) for op in policy_ops(config.policy)}


def gate(drawn: Draw, p: Tensor | float) -> Draw:
    """Turn a `draw` into parameters: the adaptive operations' have the probability p in [0, 1]."""
    return {op: OPS[op].gate(numbers, p) for op, numbers in drawn.items()}


def each(drawn: Draw, choose: Callable[[Tensor], Tensor]) -> Draw:
    """Take from a `draw` those pictures that `choose` takes of rows that stand for all of them."""
    return {
        op: {name: choose(value) if value.ndim else value for name, value in numbers.items()}
        for op, numbers in drawn.items()
    }


def apply(images_BCHW: Tensor, parameters: Draw) -> Tensor:
    """Change pictures in [-1, 1] by parameters on their device; same shape and dtype."""
    for op, values in parameters.items():
        images_BCHW = OPS[op].apply(images_BCHW, values)
    return images_BCHW


class Op(NamedTuple):
    """One operation: what is drawn, how it changes pictures, and where it is left out."""

    draw: Callable[[AugmentConfig, Tensor, torch.Generator], Parameters]
    apply: Callable[[Tensor, Parameters], Tensor]
    gate: Callable[[Parameters, Tensor | float], Parameters] = lambda numbers, p: numbers


OPS: dict[str, Op] = {
    "color": Op(
        lambda config, chosen, rng: diffaugment.draw_color(
            chosen, rng, config.brightness, config.saturation, config.contrast
        ),
        diffaugment.color,
    ),
    "translation": Op(
        lambda config, chosen, rng: diffaugment.draw_translation(chosen, rng, config.translation),
        diffaugment.translation,
    ),
    "cutout": Op(
        lambda config, chosen, rng: diffaugment.draw_cutout(chosen, rng, config.cutout),
        diffaugment.cutout,
    ),
    "bgc": Op(lambda config, chosen, rng: bgc.draw(len(chosen), rng), bgc.apply, bgc.gate),
    "keras": Op(lambda config, chosen, rng: keras.draw(len(chosen), rng), keras.apply, keras.gate),
}
