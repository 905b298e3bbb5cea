"""Name a trial's numbers, pictures and outcome for W&B."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Mapping
from typing import Any

from fastgan_ray.metrics.names import best_name, early_name, fakes_error_name, final_value, value_of
from fastgan_ray.search.file.metric import Metric

Known = dict[str, Any]

# Numbers that are not drawn as curves, because they do not change during a trial or repeat kimg.
CONSTANTS = (
    "params_g",
    "params_d",
    "gflop_g",
    "num_fakes",
    "peak_memory_gb",
    "total_kimg",
    "images_shown",
    "orders",
)
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
# Keys of a result whose values are picture files. "grid" shows samples. "pairs" shows the samples
# that are most similar to a training picture, each beside that picture. "decoded" shows training
# pictures, each beside its reconstruction from the discriminator's features.
PICTURES = ("grid", "pairs", "decoded")
VALUED = ("finished", "stopped", "running")


def log_row(result: Mapping[str, Any], left_out: Collection[str] = ()) -> dict[str, Any]:
    """Return the numbers in a result that W&B draws as curves, by name.

    Numbers whose names are in CONSTANTS or `left_out` are left out. NaN and infinite numbers are
    also left out.
    """
    row: dict[str, Any] = {}
    for key, value in result.items():
        if (
            key in CONSTANTS
            or key in left_out
            or isinstance(value, bool)
            or not isinstance(value, numbers.Real)
        ):
            continue
        if math.isfinite(value):
            row[key] = int(value) if isinstance(value, numbers.Integral) else float(value)
    return row


def caption(result: Mapping[str, Any], metric: str) -> str:
    """Return the caption of a picture: the kimg and, if the result has it, the metric's value.

    `metric` is the metric's name.
    """
    value = value_of(result, metric)
    return f"{result['kimg']:g} kimg" + ("" if value is None else f", {metric} {value:.4g}")


def update(known: Mapping[str, Any], result: Mapping[str, Any], metric: Metric) -> Known:
    """Return a copy of `known` that also includes a trial's new result.

    `known` collects the results of a trial. It has the last value of each key, the metric's best
    value in full evaluations, and the metric's best value in cheap evaluations. The key "warning"
    keeps its value if the new result has no metric value.
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
    """Return the W&B summary of a trial that has ended.

    `state` is the trial's state, `known` is the result of `update`, and `metric` is the metric's
    name. "value" is the metric value of the best checkpoint on new latents. If there is no best
    checkpoint, "value" is the metric value of the last evaluation. "error" is the part of the
    standard error of "value" that comes from the generated pictures. "value" and "error" are left
    out if the trial failed, diverged or ran out of memory. "best" is the best metric value of all
    full evaluations. If the trial has only cheap evaluations, "value", "error" and "best" come from
    cheap evaluations. Unknown numbers are left out.
    """
    numbers_of = {
        "best": "best",
        "memorised": "memorised",
        "best_kimg": best_name("kimg"),
        "selected_value": best_name("selected"),
        "nearest_ratio": "nearest_ratio",
        **({"value": metric, "error": fakes_error_name(metric)} if state in VALUED else {}),
    }
    values = {name: final_value(known, key) for name, key in numbers_of.items()}
    result: dict[str, float | int | str] = {"state": state}
    result |= {name: value for name, value in values.items() if value is not None}
    return result | {key: known[key] for key in (metric, *SUMMARY) if key in known}
