"""The key `seeds` of a search file: the number of trainings of each configuration."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field, ValidationInfo

from fastgan_ray.config.rules import broken
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.search.file.section import context_of
from fastgan_ray.search.space import SearchSpace

MOST_SEEDS = 20  # of each configuration of a search
SEED_LIMIT = 2**31  # train.seed must be below this limit


def _check_seeds(seeds: int, info: ValidationInfo) -> int:
    """Return `seeds`; raise an error if trials with several seeds are not possible in this file.

    The seeds are train.seed in `base` and the following numbers. So train.seed must not be a
    searched parameter, and the last seed must be below SEED_LIMIT. Population-based training is not
    possible, because it changes the settings of a configuration during its training.
    """
    if seeds == 1:
        return seeds
    space: SearchSpace | None = info.data.get("parameters")  # None if not valid
    if any(parameter.name == "train.seed" for parameter in space or ()):
        raise broken(
            "cannot be used if train.seed is in parameters, because the seeds are train.seed in "
            f"base and the following numbers (got {seeds}); remove train.seed from parameters"
        )
    if info.data.get("population") is not None:
        raise broken(
            "cannot be used with population, because population-based training changes the "
            f"settings of a configuration during its training (got {seeds}); remove seeds or "
            "population"
        )
    settings = context_of(info).settings
    if settings is not None:
        first = RunConfig.model_validate(settings).train.seed
        if first + seeds > SEED_LIMIT:
            raise broken(
                f"needs {seeds} seeds below 2**31, beginning with train.seed (got seeds {seeds}, "
                f"train.seed {first}); choose a smaller train.seed"
            )
    return seeds


SearchSeeds: TypeAlias = Annotated[int, Field(ge=1, le=MOST_SEEDS), AfterValidator(_check_seeds)]
