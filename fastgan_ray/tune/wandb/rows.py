"""What is logged about a trial, as plain numbers and words: its rows, and how it ended."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

from fastgan_ray.metrics.names import early_name, fakes_error_name, value_of
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.tune.ray.compat import RESULT_KEYS

Known = dict[str, Any]

SUMMARY = (
    "reason",
    "kimg",
    "seconds",
    "images_per_second",
    "peak_memory_gb",
    "params_g",
    "params_d",
    "gflop_g",
    "num_fakes",
    "warning",
)
VALUED = ("finished", "stopped", "running")


def log_row(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result's finite numbers, without those that Ray adds, as plain int and float."""
    row: dict[str, Any] = {}
    for key, value in result.items():
        if key in RESULT_KEYS or isinstance(value, bool) or not isinstance(value, numbers.Real):
            continue
        if math.isfinite(value):
            row[key] = int(value) if isinstance(value, numbers.Integral) else float(value)
    return row


def caption(result: Mapping[str, Any], metric: str) -> str:
    """Return the caption of a picture: kimg and metric."""
    value = value_of(result, metric)
    return f"{result['kimg']:g} kimg" + ("" if value is None else f", {metric} {value:.4g}")


def update(known: Mapping[str, Any], result: Mapping[str, Any], metric: Metric) -> Known:
    """Return what is known of a trial after a result: the last value of everything, and the best.

    Those of cheap evaluations are kept apart. A warning holds until the next evaluation.
    """
    updated = {**known, **result}
    choose = min if metric.goal == "minimize" else max
    for name, best in ((metric.name, "best"), (early_name(metric.name), early_name("best"))):
        if name in result:
            updated[best] = choose(result[name], known.get(best, result[name]))
    if value_of(result, metric.name) is not None:
        updated["warning"] = result.get("warning", "")
    return updated


def summary(state: str, known: Mapping[str, Any], metric: str) -> dict[str, float | int | str]:
    """Return how a trial ended, under the same names whatever was searched.

    `value` is the last value of the metric, unless the trial went wrong; `error` its standard error
    from the generated pictures; `best` the best value; of cheap evaluations where there are no
    others. Unknown values are left out.
    """
    numbers_of = {
        "best": "best",
        "memorised": "memorised",
        **({"value": metric, "error": fakes_error_name(metric)} if state in VALUED else {}),
    }
    values = {name: value_of(known, key) for name, key in numbers_of.items()}
    result: dict[str, float | int | str] = {"state": state}
    result |= {name: value for name, value in values.items() if value is not None}
    return result | {key: known[key] for key in (metric, *SUMMARY) if key in known}
