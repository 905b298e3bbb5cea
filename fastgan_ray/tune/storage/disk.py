"""The disk that checkpoints take, and how many trials a budget of it allows at once."""

from __future__ import annotations

from collections.abc import Sequence

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.search.cost.memory import gpu_gb_of

# Of a trial that runs: its last, the one being written, and where it was stopped in between; and
# the last of the trial before it, which goes when the search's record says that it is over.
CHECKPOINTS_A_TRIAL = 4
WEIGHT_BYTES = 4
MOMENTS = 2  # of Adam, for each weight


def checkpoint_gb(config: RunConfig) -> tuple[float, float]:
    """What a checkpoint takes, in GB, and what its weights to sample from take of that."""
    from fastgan_ray.models import build_discriminator, build_generator

    g, d = (
        sum(weight.numel() for weight in network.state_dict().values()) * WEIGHT_BYTES / 1e9
        for network in (build_generator(config.model), build_discriminator(config.model))
    )
    pruned = g if config.regan.sparsity > 0 else 0.0  # masks, and the weights they hide
    return (2 + MOMENTS) * g + (1 + MOMENTS) * d + 1.25 * pruned, g


def within(budget_gb: float, configs: Sequence[RunConfig], weights_kept: int) -> int:
    """How many trials at once the budget allows, of the largest of the likely configurations.

    `weights_kept`: of how many trials the weights to sample from stay; 0 = a whole checkpoint of
    one, the best. UserError if it allows none.
    """
    whole, weights = checkpoint_gb(max(configs, key=gpu_gb_of))
    kept = weights * weights_kept or whole
    allowed = int((budget_gb - kept) / (CHECKPOINTS_A_TRIAL * whole))
    if allowed < 1:
        raise UserError(
            f"--disk-gb: must be at least {kept + CHECKPOINTS_A_TRIAL * whole:.3g} (got "
            f"{budget_gb:g}): {kept:.3g} GB stay at the end, and a trial takes up to "
            f"{CHECKPOINTS_A_TRIAL} checkpoints of {whole:.3g} GB while it runs"
        )
    return allowed
