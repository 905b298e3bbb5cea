"""Adaptive augmentation: the probability p rises while D overfits, and falls while it does not.

Overfitting shows as D being sure of the real pictures. A controller is a pure function of a small
state of plain floats, which a checkpoint holds exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastgan_ray.config.run_config import ADAPTIVE_OPS, AugmentConfig, policy_ops

STYLEGAN2_TARGET = 0.6
KERAS_TARGET = 0.85
KERAS_STEPS = 1000  # steps for which an error of 1 moves p by 1


@dataclass(frozen=True)
class AdaState:
    """The probability p, and the sum and number of mean signs since p last changed."""

    p: float
    sign_sum: float = 0.0
    count: int = 0


def adaptive(config: AugmentConfig) -> bool:
    """Whether p changes during training: with a controller, and an operation to control."""
    return config.ada != "none" and any(op in ADAPTIVE_OPS for op in policy_ops(config.policy))


def update(state: AdaState, sign: float, batch_size: int, config: AugmentConfig) -> AdaState:
    """The state after a step; `sign` is the mean sign of D's logits of real pictures, -1 to 1."""
    return CONTROLLERS[config.ada](state, sign, batch_size, config) if adaptive(config) else state


def stylegan2(state: AdaState, sign: float, batch_size: int, config: AugmentConfig) -> AdaState:
    """Karras et al. 2020: every few steps, a step of fixed size towards the target of `sign`."""
    total, count = state.sign_sum + sign, state.count + 1
    if count < config.ada_interval:
        return AdaState(state.p, total, count)
    target = STYLEGAN2_TARGET if config.ada_target is None else config.ada_target
    step = batch_size * count / (config.ada_kimg * 1000)
    mean = total / count
    direction = (mean > target) - (mean < target)
    return AdaState(_clipped(state.p + direction * step, config))


def keras(state: AdaState, sign: float, batch_size: int, config: AugmentConfig) -> AdaState:
    """Beres 2021: every step, in proportion to the error of D's accuracy on real pictures."""
    target = KERAS_TARGET if config.ada_target is None else config.ada_target
    accuracy = (1 + sign) / 2
    return AdaState(_clipped(state.p + (accuracy - target) / KERAS_STEPS, config))


def _clipped(p: float, config: AugmentConfig) -> float:
    return min(max(p, 0.0), config.ada_max_p)


Controller = Callable[[AdaState, float, int, AugmentConfig], AdaState]

CONTROLLERS: dict[str, Controller] = {"stylegan2": stylegan2, "keras": keras}
