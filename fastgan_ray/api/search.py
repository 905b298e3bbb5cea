"""Run a search from Python, as the command `tune` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastgan_ray.api.settings import as_text, changes, without_lines
from fastgan_ray.errors import UserError
from fastgan_ray.search.file.presets import file_or_preset
from fastgan_ray.search.file.read import load_search, spec_from_text

if TYPE_CHECKING:
    from fastgan_ray.api.pictures import Data
    from fastgan_ray.api.results import Results
    from fastgan_ray.search.file.spec import SearchSpec
    from fastgan_ray.tune.wandb.session import Mode


def run_search(
    config: str | Path | Mapping[str, Any],
    data: Data | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    embedded: bool = False,
    name: str | None = None,
    runs: str | Path = "runs",
    resume: bool = False,
    max_concurrent: int | None = None,
    disk_gb: float | None = None,
    warm_start: str | Path | None = None,
    wandb: Mode = "auto",
    address: str | None = None,
    quiet: bool = False,
) -> Results:
    """Search for the best configuration for your pictures, with parallel trials on Ray.

    `config` is a search file, the name of a preset, or the content of a search file as a mapping.
    `data` is a path of pictures, the name of a data set, a list of PIL pictures, or a uint8 array
    (N, H, W, 3). `settings` overrides settings of `config`, e.g. {"train.total_kimg": 50}.
    `warm_start` is the folder of an earlier search, as in the option --from. If `quiet` is True,
    nothing is printed. All other arguments have the names and meanings of the options of
    `fastgan-ray tune`.

    Raise UserError before the first trial if an argument is not valid, FailedRunError if the search
    fails, and InterruptedRunError after Ctrl-C. After Ctrl-C, a call with `resume=True` continues
    the search.
    """
    from fastgan_ray.api.options import tune_options
    from fastgan_ray.api.results import read_results
    from fastgan_ray.tune import search

    spec = read_search(config, changes(data, settings, embedded))
    options = tune_options(
        runs,
        name=name,
        resume=resume,
        max_concurrent=max_concurrent,
        disk_gb=disk_gb,
        warm_start=None if warm_start is None else Path(warm_start),
        wandb=wandb,
        address=address,
        quiet=quiet,
    )
    return read_results(search.run_search(spec, options))


def read_search(config: str | Path | Mapping[str, Any], overrides: Mapping[str, Any]) -> SearchSpec:
    """Read a search; `config` is a file, the name of a preset, or a mapping.

    `overrides` {dotted name: value} changes settings of `config`. Raise one UserError with all
    errors in `config`.
    """
    if not isinstance(config, Mapping):
        return load_search(file_or_preset(Path(config)), overrides)
    try:
        return spec_from_text(as_text(config), "config", overrides)
    except UserError as error:
        raise without_lines(error) from None
