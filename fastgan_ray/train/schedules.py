"""Compute the values of scheduled settings at each training step, as numbers and as tensors.

Settings that are used before a step, such as augmentation strengths, are numbers from `config_at`.
Settings that are used on the device, such as loss weights, are scalar tensors in the draws of the
step. A captured step reads these tensors from memory, so it need not be captured again when the
values change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.scheduled import ScheduledSection
from fastgan_ray.config.training import TrainConfig
from fastgan_ray.train.state import TrainState


def config_at(config: RunConfig, step: int) -> RunConfig:
    """Return a configuration with the values of scheduled settings at `step`, counted from 0.

    The values are those after `step` x `images_per_step` images. So at step 0, a setting has the
    value `from` of its schedule. The result also contains the schedules. To decide whether
    something is on or off, use `ScheduledSection.largest` instead of the values. Then the decision
    is the same at all steps.
    """
    kimg = step * config.train.images_per_step / 1000
    sections = _scheduled_sections(config)
    if not sections:
        return config
    return config.model_copy(update={name: part.at(kimg) for name, part in sections.items()})


def numbers_of(config: RunConfig) -> dict[str, dict[str, Tensor]]:
    """Return the values of scheduled settings as scalar tensors, by section and name.

    `config` is a result of `config_at`.
    """
    return {
        section: {name: torch.tensor(float(getattr(part, name))) for name in part.schedules}
        for section, part in _scheduled_sections(config).items()
    }


def with_numbers(config: RunConfig, numbers: Mapping[str, Mapping[str, Tensor]]) -> RunConfig:
    """Return `config` with scalar tensors in place of the values of scheduled settings.

    `numbers` is the result of `numbers_of`, on the device.
    """
    if not numbers:
        return config
    sections: dict[str, Any] = {
        name: getattr(config, name).model_copy(update=values) for name, values in numbers.items()
    }
    return config.model_copy(update=sections)


def set_decays(state: TrainState, train: TrainConfig) -> None:
    """Set the decays (beta1, beta2) of both optimisers, if a schedule changes them.

    `train` has the values at the current step.
    """
    if train.changes("beta1", "beta2"):
        for optimizer in (state.optimizer_g, state.optimizer_d):
            optimizer.param_groups[0]["betas"] = (train.beta1, train.beta2)


def set_rates(state: TrainState, config: RunConfig) -> None:
    """Set the learning rates and the augmentation's p on the device, if schedules change them.

    `config` is a result of `with_numbers`.
    """
    train, regan, augment = config.train, config.regan, config.augment
    if train.changes("lr_g") or regan.changes("dense_lr_factor"):
        state.optimizer_g.param_groups[0]["lr"] = train.lr_g * state.regan.lr_factor(regan)
    if train.changes("lr_d"):
        state.optimizer_d.param_groups[0]["lr"] = train.lr_d
    if augment.changes("ada_p"):
        state.ada.p.copy_(torch.as_tensor(augment.ada_p))


def _scheduled_sections(config: RunConfig) -> dict[str, ScheduledSection]:
    """Return the sections of `config` that have at least one schedule, by name."""
    return {
        name: part
        for name in ("train", "augment", "regan")
        if isinstance(part := getattr(config, name), ScheduledSection) and part.schedules
    }
