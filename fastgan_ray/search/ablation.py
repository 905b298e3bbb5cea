"""An ablation: named arms, each trained on every data set with every seed, beside a baseline."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.strict_yaml import format_value
from fastgan_ray.errors import UserError
from fastgan_ray.search.file.metric import Metric

OWN_BASELINE = "baseline"  # the name of an arm that `baseline` itself describes
MAX_CELLS = 10_000


@dataclass(frozen=True)
class AblationSpec:
    """Arms (their settings by name, flat dotted keys over `base`), data sets and seeds.

    `base` includes the overrides, and no arm has a key of theirs. None is a data set that is not
    named yet. `text`, `overrides` and `seeds` rebuild it (`ablation_from_text`).
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


@dataclass(frozen=True)
class Cell:
    """One training of an ablation."""

    arm: str
    data: str | None
    seed: int


def cells(spec: AblationSpec) -> list[Cell]:
    """List every training in the order in which they start: first the whole ablation, one seed."""
    return [
        Cell(arm, data, seed)
        for seed, data, arm in itertools.product(spec.seeds, spec.data, spec.arms)
    ]


def cell_config(spec: AblationSpec, cell: Cell) -> RunConfig:
    """Return the configuration of one training."""
    settings = {"data.path": cell.data, "train.seed": cell.seed}
    return RunConfig.model_validate({**spec.base, **spec.arms[cell.arm], **settings})


def arm_config(spec: AblationSpec, arm: str) -> RunConfig:
    """Return an arm's configuration with the first data set and the first seed."""
    return cell_config(spec, Cell(arm, spec.data[0], spec.seeds[0]))


def data_name(data: str | None) -> str:
    """Return what tables call a data set: the last part of its path."""
    return "" if data is None else Path(data).name or data


def parse_seeds(text: str) -> list[int]:
    """Read `--seeds`: "3" is a count, [0, 1, 2]; "0-2,7" and "7," name seeds."""
    if re.fullmatch(r"\s*[0-9]{1,4}\s*", text) and int(text) > 0:
        return list(range(int(text)))
    seeds: list[int] = []
    for part in text.removesuffix(",").split(",") if re.search(r"[-,]", text) else [""]:
        match = re.fullmatch(r"\s*([0-9]{1,10})(?:-([0-9]{1,10}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        repeats = any(first <= seed <= last for seed in seeds)
        if not first <= last < 2**31 or last - first >= MAX_CELLS or repeats:
            rule = "must be a count, or different seeds and ranges such as 0-2,7"
            raise UserError(f"--seeds: {rule} (got {format_value(text)})")
        seeds.extend(range(first, last + 1))
    return seeds
