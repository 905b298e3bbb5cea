"""Compute learning curves of trials or arms: the metric against the images shown (kimg)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.metrics.names import early_name

Point = dict[str, Any]


def curve_metric(trials: Sequence[Mapping[str, Any]], metric: str) -> str:
    """Return the name of the metric to plot: `metric`, or its name in cheap evaluations.

    Cheap evaluations use fewer pictures (`eval.early_fakes`) and report the metric under another
    name. Values of cheap and full evaluations cannot be compared. So if any row has this other
    name, curves show only cheap evaluations.
    """
    early = early_name(metric)
    return early if any(early in row for trial in trials for row in trial["rows"]) else metric


def trial_curve(trial: Mapping[str, Any], metric: str) -> list[tuple[float, float]]:
    """Return a pair (kimg, value) for each evaluation of `metric` in a trial, in order."""
    return [(row["kimg"], row[metric]) for row in trial["rows"] if metric in row]


def arm_curves(
    trials: Sequence[Mapping[str, Any]], metric: str
) -> dict[tuple[str, str], list[Point]]:
    """Compute the mean and range of `metric` over seeds; return {(arm, data set): points}.

    A point is {"kimg", "seeds", "mean", "low", "high"}; "seeds" is the number of trainings in the
    mean. A failed training counts up to its last evaluation.
    """
    values: dict[tuple[str, str], dict[float, list[float]]] = {}
    for trial in trials:
        arm_values = values.setdefault((trial["arm"], trial["data"]), {})
        for kimg, value in trial_curve(trial, metric):
            arm_values.setdefault(kimg, []).append(value)
    return {
        arm: [_point(kimg, numbers) for kimg, numbers in sorted(by_kimg.items())]
        for arm, by_kimg in values.items()
    }


def with_all_seeds(points: Sequence[Point]) -> list[list[Point]]:
    """Return the unbroken parts of a curve whose points are means over the most seeds."""
    most = max((point["seeds"] for point in points), default=0)
    groups = itertools.groupby(points, lambda point: bool(point["seeds"] == most))
    return [list(part) for has_all, part in groups if has_all]


def _point(kimg: float, numbers: Sequence[float]) -> Point:
    mean = sum(numbers) / len(numbers)
    seeds = len(numbers)
    return {"kimg": kimg, "seeds": seeds, "mean": mean, "low": min(numbers), "high": max(numbers)}
