"""Estimate the disk space of checkpoints, and how many parallel trials a disk limit allows."""

from __future__ import annotations

from collections.abc import Sequence

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.task_fields import INSTANCE_KINDS
from fastgan_ray.errors import UserError
from fastgan_ray.models.passes import count_passes
from fastgan_ray.search.cost.memory import gpu_gb_of

# A running trial may have three checkpoints: the last one, the one that is being written, and one
# from an interruption between two evaluations. A fourth checkpoint is the last one of the previous
# trial, which is kept until Ray's state says that the previous trial has ended. In addition, both
# trials may have their `train.keep_best` best checkpoints.
CHECKPOINTS_PER_TRIAL = 4
WEIGHT_BYTES = 4
MOMENTS = 2  # numbers that Adam stores for each weight


def checkpoint_gb(config: RunConfig) -> tuple[float, float]:
    """Return the size in GB of a whole checkpoint, and of its weights that generate samples."""
    passes = count_passes(config.model, config.data.channels)
    g, d = (stored * WEIGHT_BYTES / 1e9 for stored in (passes.stored_g, passes.stored_d))
    pruned = g if config.regan.largest("sparsity") > 0 else 0.0  # masks, and the weights they hide
    copy = d if config.model.task in INSTANCE_KINDS else 0.0  # the slow copy of D
    return (2 + MOMENTS) * g + (1 + MOMENTS) * d + copy + 1.25 * pruned, g


def trials_within(limit_gb: float, configs: Sequence[RunConfig], weights_kept: int) -> int:
    """Return how many trials may run at once if all checkpoints may take `limit_gb` GB.

    Every trial is assumed to have the largest configuration in `configs`. `weights_kept` is the
    number of ended trials that keep the weights that generate samples. If `weights_kept` is 0, only
    the best of the ended trials keeps checkpoints: its best checkpoint and its last checkpoint.
    Raises UserError if the limit allows no trial.
    """
    whole, weights = checkpoint_gb(max(configs, key=gpu_gb_of))
    best = max(config.train.keep_best for config in configs)
    kept = weights * weights_kept * (1 + best) or whole * (2 if best else 1)
    per_trial = CHECKPOINTS_PER_TRIAL + 2 * best
    running = per_trial * whole
    count = int((limit_gb - kept) / running + 1e-9)  # a rounding error must not reduce the count
    if count < 1:
        raise UserError(
            f"--disk-gb: must be at least {kept + running:.3g} (got {limit_gb:g}), because "
            f"{kept:.3g} GB are kept at the end, and a running trial needs up to {per_trial} "
            f"checkpoints of {whole:.3g} GB"
        )
    return count
