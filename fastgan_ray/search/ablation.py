"""Describe an ablation, which trains each arm on every data set with every seed.

An arm is a named configuration; one arm is the baseline.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.search.file.metric import Metric, metric_setting

OWN_BASELINE = "baseline"  # the name of a baseline that has its own settings
MAX_CELLS = 10_000
Moment = Literal["last", "best"]


@dataclass(frozen=True)
class AblationSpec:
    """An ablation: its arms, data sets and seeds.

    `base` has the settings of the file's `base` ({dotted key: value}), with the overrides (`--set`)
    applied. `arms` maps the name of each arm to its settings, which replace settings of `base`. A
    setting that an override replaces is removed from the arms. If `data` contains None, the user
    has not yet chosen the data set. `compare` says which checkpoint of each training is compared,
    "last" or "best"; a best checkpoint is measured again on new latents. `ablation_from_text` can
    create the same AblationSpec from `text`, `overrides` and `seeds`.
    """

    name: str
    metric: Metric
    base: dict[str, Any]
    baseline: str
    arms: dict[str, dict[str, Any]]
    data: tuple[str | None, ...]
    seeds: tuple[int, ...]
    description: str
    text: str
    overrides: dict[str, Any]
    compare: Moment = "last"


@dataclass(frozen=True)
class Cell:
    """One training of an ablation, i.e. an arm, a data set and a seed."""

    arm: str
    data: str | None
    seed: int


def cells(spec: AblationSpec) -> list[Cell]:
    """Return all trainings of an ablation, in the order in which they start.

    All data sets and arms are trained with the first seed, then all with the second seed, etc.
    """
    return [
        Cell(arm, data, seed)
        for seed, data, arm in itertools.product(spec.seeds, spec.data, spec.arms)
    ]


def cell_config(spec: AblationSpec, cell: Cell) -> RunConfig:
    """Return the configuration of one training."""
    settings = {"data.path": cell.data, "train.seed": cell.seed}
    settings |= metric_setting(spec.metric, spec.base)
    return RunConfig.model_validate({**spec.base, **spec.arms[cell.arm], **settings})


def arm_config(spec: AblationSpec, arm: str) -> RunConfig:
    """Return the configuration of an arm with the first data set and the first seed."""
    return cell_config(spec, Cell(arm, spec.data[0], spec.seeds[0]))


def data_name(data: str | None) -> str:
    """Return the name of a data set for tables: the last part of its path `data`; "" for None."""
    return "" if data is None else Path(data).name or data
