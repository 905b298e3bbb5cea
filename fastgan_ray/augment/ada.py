"""Adapt the augmentation probability p: raise p while D overfits, lower p while D does not.

D overfits if too many of its logits of real pictures are positive. A controller is a pure function
of a small state. The state is on the training's device, so no step has to wait for a copy.
Checkpoints store the state exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fastgan_ray.config.augment import AugmentConfig, is_adaptive, policy_ops

STYLEGAN2_TARGET = 0.6
KERAS_TARGET = 0.85


@dataclass(frozen=True)
class AdaState:
    """The probability p, and the data from which the next change of p is computed.

    All are scalar tensors. `sign_sum` is the sum of the values `sign` that `update` got since the
    last change of p. `count` is the number of these values.
    """

    p: Tensor
    sign_sum: Tensor
    count: Tensor


def ada_state(p: float, device: torch.device, sign_sum: float = 0.0, count: int = 0) -> AdaState:
    """Return a state with the given values on `device`.

    `p` and `sign_sum` are float64, or float32 if the device does not support float64.
    """
    precise = torch.float32 if device.type == "mps" else torch.float64
    p_and_sum = torch.tensor([p, sign_sum], dtype=precise, device=device)
    return AdaState(p_and_sum[0], p_and_sum[1], torch.tensor(count, device=device))


def adaptive(config: AugmentConfig) -> bool:
    """Return whether p changes in training: this needs a controller and an adaptive operation."""
    return config.ada != "none" and any(map(is_adaptive, policy_ops(config.policy)))


def update(state: AdaState, sign: Tensor, batch_size: int, config: AugmentConfig) -> AdaState:
    """Return the controller's state after a step of D; `state` is the state before this step.

    `sign` is the mean sign of D's logits of real pictures in this step, a scalar from -1 to 1.
    `batch_size` is the number of these pictures.
    """
    if not adaptive(config):
        return state
    return CONTROLLERS[config.ada](state, sign.to(state.p.dtype), batch_size, config)


def stylegan2(state: AdaState, sign: Tensor, batch_size: int, config: AugmentConfig) -> AdaState:
    """Move p by a fixed amount once in `ada_interval` steps of D (Karras et al. 2020).

    The arguments are the same as in `update`. p rises if the mean of `sign` since p's last move is
    above the target. p falls if this mean is below the target.
    """
    total, count = state.sign_sum + sign, state.count + 1
    target = STYLEGAN2_TARGET if config.ada_target is None else config.ada_target
    step = batch_size * config.ada_interval / (config.ada_kimg * 1000)
    moved = _clipped(state.p + (total / count - target).sign() * step, config)
    due = count >= config.ada_interval
    return AdaState(torch.where(due, moved, state.p), total * ~due, count * ~due)


def keras(state: AdaState, sign: Tensor, batch_size: int, config: AugmentConfig) -> AdaState:
    """Move p at each step of D, by (D's accuracy on real pictures - target) / `ada_steps`.

    Source: Beres 2021. The accuracy is the fraction of real pictures with a positive logit,
    (1 + `sign`) / 2. The arguments are the same as in `update`.
    """
    target = KERAS_TARGET if config.ada_target is None else config.ada_target
    accuracy = (1 + sign) / 2
    p = _clipped(state.p + (accuracy - target) / config.ada_steps, config)
    return AdaState(p, state.sign_sum, state.count)


def _clipped(p: Tensor, config: AugmentConfig) -> Tensor:
    if config.changes("ada_max_p"):  # then the limit is a tensor (`train/schedules.py`)
        return p.clamp(min=0.0).minimum(torch.as_tensor(config.ada_max_p))
    return p.clamp(0.0, config.ada_max_p)


Controller = Callable[[AdaState, Tensor, int, AugmentConfig], AdaState]

CONTROLLERS: dict[str, Controller] = {"stylegan2": stylegan2, "keras": keras}
