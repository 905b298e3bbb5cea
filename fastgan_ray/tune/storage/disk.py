"""The disk that checkpoints take, and how many trials at once a limit on it allows."""

from __future__ import annotations

from collections.abc import Sequence

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.search.cost.memory import gpu_gb_of

# Of a running trial: its last, the one being written, and the one where it was interrupted between
# two evaluations; and the last one of the trial before, until Ray's state says that it has ended.
CHECKPOINTS_PER_TRIAL = 4
WEIGHT_BYTES = 4
MOMENTS = 2  # of Adam, for each weight


def checkpoint_gb(config: RunConfig) -> tuple[float, float]:
    """Return what a checkpoint takes, in GB, and what its weights to sample from take of that."""
    from fastgan_ray.models import build_discriminator, build_generator

    g, d = (
        sum(weight.numel() for weight in network.state_dict().values()) * WEIGHT_BYTES / 1e9
        for network in (build_generator(config.model), build_discriminator(config.model))
    )
    pruned = g if config.regan.sparsity > 0 else 0.0  # masks, and the weights that they hide
    return (2 + MOMENTS) * g + (1 + MOMENTS) * d + 1.25 * pruned, g


def trials_within(limit_gb: float, configs: Sequence[RunConfig], weights_kept: int) -> int:
    """Return how many trials with the largest of the configurations may run at once.

    `weights_kept`: of how many trials the weights to sample from are kept; 0 = one whole checkpoint
    is kept, the best. UserError if the limit allows no trial.
    """
    whole, weights = checkpoint_gb(max(configs, key=gpu_gb_of))
    kept = weights * weights_kept or whole
    running = CHECKPOINTS_PER_TRIAL * whole
    count = int((limit_gb - kept) / running)
    if count < 1:
        raise UserError(
            f"--disk-gb: must be at least {kept + running:.3g} (got {limit_gb:g}): {kept:.3g} GB "
            f"are kept at the end, and a running trial takes up to {CHECKPOINTS_PER_TRIAL} "
            f"checkpoints of {whole:.3g} GB"
        )
    return count
