"""A training step on given pictures, with everything else drawn as the training loop draws it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.train.draws import Turn, draw_step, to_device
from fastgan_ray.train.state import TrainState
from fastgan_ray.train.step import Distance, Scalars, train_step

CPU = torch.device("cpu")


def take_step(
    state: TrainState,
    batches: Sequence[Tensor],
    config: RunConfig,
    distance: Distance,
    bf16: bool = False,
) -> Scalars:
    """`train_step` on the CPU."""
    draws = to_device(draw_step(state, config), CPU)
    return train_step(state, draws, batches, config, distance, bf16)


def draw_turn(state: TrainState, config: RunConfig) -> Turn:
    """The draws of a step's first turn."""
    return draw_step(state, config).turns[0]
