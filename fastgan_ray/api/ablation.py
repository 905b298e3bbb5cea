"""Run an ablation from Python, as the command `ablate` does."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastgan_ray.api.settings import as_text, changes, without_lines
from fastgan_ray.errors import UserError
from fastgan_ray.search.file.presets import file_or_preset
from fastgan_ray.search.file.read_ablation import ablation_from_text, load_ablation

if TYPE_CHECKING:
    from fastgan_ray.api.pictures import Data
    from fastgan_ray.api.results import Results
    from fastgan_ray.search.ablation import AblationSpec
    from fastgan_ray.tune.wandb.session import Mode


def run_ablation(
    config: str | Path | Mapping[str, Any],
    data: Data | None = None,
    *,
    seeds: Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    embedded: bool = False,
    name: str | None = None,
    runs: str | Path = "runs",
    resume: bool = False,
    max_concurrent: int | None = None,
    disk_gb: float | None = None,
    wandb: Mode = "auto",
    address: str | None = None,
    quiet: bool = False,
) -> Results:
    """Train every arm with every seed, and compare each arm with the baseline.

    `config` is an ablation file, the name of a preset, or the content of an ablation file as a
    mapping. `seeds`, e.g. range(3), replaces the seeds in `config`. `data` replaces the data sets
    in `config`. All other arguments have the same meaning as in `run_search`, and the exceptions
    are the same.
    """
    from fastgan_ray.api.options import tune_options
    from fastgan_ray.api.results import read_results
    from fastgan_ray.tune import ablation

    spec = read_ablation(config, changes(data, settings, embedded), seeds)
    options = tune_options(
        runs,
        name=name,
        resume=resume,
        max_concurrent=max_concurrent,
        disk_gb=disk_gb,
        wandb=wandb,
        address=address,
        quiet=quiet,
    )
    return read_results(ablation.run_ablation(spec, options))


def read_ablation(
    config: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any],
    seeds: Sequence[int] | None,
) -> AblationSpec:
    """Read an ablation; `config` is a file, the name of a preset, or a mapping.

    `overrides` {dotted name: value} changes settings of `config`. `seeds` must be different
    integers, at least 0 and below 2^31. If `seeds` is None, the seeds in `config` are used. Raise
    one UserError with all errors in `config`, or a UserError about `seeds`.
    """
    chosen = None if seeds is None else _checked_seeds(seeds)
    if not isinstance(config, Mapping):
        return load_ablation(file_or_preset(Path(config)), overrides, chosen)
    try:
        return ablation_from_text(as_text(config), "config", overrides, chosen)
    except UserError as error:
        raise without_lines(error) from None


def _checked_seeds(seeds: Sequence[int]) -> list[int]:
    try:
        numbers = [operator.index(seed) for seed in seeds]
    except (TypeError, ValueError):
        raise UserError(
            f"seeds: must be a sequence of integers, e.g. range(3) (got {seeds!r})"
        ) from None
    if not numbers or len(set(numbers)) < len(numbers):
        raise UserError(f"seeds: must be one or more different seeds (got {numbers})")
    if min(numbers) < 0 or max(numbers) >= 2**31:
        raise UserError(f"seeds: must be at least 0 and below 2^31 (got {numbers})")
    return numbers
