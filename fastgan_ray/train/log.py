"""Log the means of training numbers every `train.log_every_kimg`, between evaluations.

The evaluations need sums of the numbers (losses, logits, gradient norms) of all steps, so the
device computes these sums even without a log. A row of the log has the means since the last row,
which are computed from the differences of the sums. With a log, each step also computes
`losses.judgements`. The CPU waits for the device once for each row.
"""

from __future__ import annotations

import math

import torch

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.train.costs import peak_memory_gb
from fastgan_ray.train.schedules import config_at
from fastgan_ray.train.state import LogPosition, TrainState, sums_now


def is_log(step: int, config: RunConfig) -> bool:
    """Return whether `train.log_every_kimg` asks for a row of the log after `step`.

    `step` is counted from 1. If there is a log, a row is also written before each evaluation.
    """
    images, every = config.train.images_per_step, config.train.log_every_kimg * 1000
    return every > 0 and math.floor(step * images / every) > math.floor((step - 1) * images / every)


def start_log(state: TrainState) -> None:
    """Start the log at the current step, unless `state` has the position of an earlier row."""
    if state.logged is None:
        state.logged = LogPosition(sums_now(state), dict(state.counts), state.step, state.seconds)


def log_row(state: TrainState, config: RunConfig, device: torch.device) -> dict[str, float]:
    """Return a row of the log: the means of training numbers since the last row, by name.

    The row also has the position, learning rates, the augmentation's p, speed and memory.
    `state.seconds` must be up to date. The current position is stored as the position of the last
    row. Numbers that no step has computed since the last row are left out.
    """
    assert state.logged is not None
    before, images = state.logged, config.train.images_per_step
    sums, counts = sums_now(state), dict(state.counts)
    new = {name: counts[name] - before.counts.get(name, 0) for name in sums}
    means = {
        name: (sums[name] - before.sums.get(name, 0.0)) / count
        for name, count in new.items()
        if count > 0
    }
    state.logged = LogPosition(sums, counts, state.step, state.seconds)
    shown = (state.step - before.step) * images
    last = config_at(config, state.step - 1)
    return {
        "kimg": state.step * images / 1000,
        "seconds": round(state.seconds, 3),
        **means,
        "augment/p": float(state.ada.p),
        "lr/g": last.train.lr_g * state.regan.lr_factor(last.regan),
        "lr/d": last.train.lr_d,
        "images_per_second": round(shown / max(state.seconds - before.seconds, 1e-9), 3),
        "peak_memory_gb": round(peak_memory_gb(device), 3),
    }


def sums_were_reset(state: TrainState) -> None:
    """Store the current log position with empty sums, after an evaluation has reset the sums.

    Without a log, do nothing.
    """
    if state.logged is not None:
        state.logged = LogPosition({}, {}, state.step, state.seconds)
