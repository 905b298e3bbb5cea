"""Trials that train the same configuration with different seeds (the key `seeds` of a search)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastgan_ray.search.file.spec import SearchSpec, base_config

SEED = "train.seed"  # the setting in which trials of the same configuration differ


def with_seed(spec: SearchSpec, point: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Return `point` with the train.seed of its configuration's trial number `index` (from 0)."""
    return {**point, SEED: base_config(spec).train.seed + index}


def is_repeat(spec: SearchSpec, point: Mapping[str, Any]) -> bool:
    """Return whether the trial at `point` trains a configuration again, with a further seed.

    `point` has the values of the searched parameters, and train.seed as in `with_seed`.
    """
    if SEED not in point or any(parameter.name == SEED for parameter in spec.space):
        return False
    return bool(point[SEED] != base_config(spec).train.seed)


def configuration_key(point: Mapping[str, Any]) -> str:
    """Convert a point to a string that is equal for points that differ only in the seed."""
    return json.dumps({k: v for k, v in point.items() if k != SEED}, sort_keys=True)


def mean_values(trials: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return for each trial the mean value of all `trials` of its configuration.

    A trial is an entry of "trials" in summary.json; it needs "point", and a "value" that is a
    number.
    """
    values: dict[str, list[float]] = {}
    keys = [configuration_key(trial["point"]) for trial in trials]
    for key, trial in zip(keys, trials, strict=True):
        values.setdefault(key, []).append(trial["value"])
    return [float(np.mean(values[key])) for key in keys]
