"""Find the Pareto front of several metrics: the trials that no other trial dominates.

Optuna's `study.best_trials` is not used, for two reasons. Reports use only summary.json, without a
study. And a study does not count a trial as finished if the trial copied another trial's weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.search.file.metric import Metric


def front(values: Mapping[str, Sequence[float]], metrics: Sequence[Metric]) -> list[str]:
    """Return the names of the points on the Pareto front, sorted by the first metric, best first.

    `values` maps the name of each point to its values, one for each of `metrics`. A point dominates
    another point if it is at least as good in every metric and better in at least one.
    """
    signs = [-1 if metric.goal == "maximize" else 1 for metric in metrics]
    points = {
        name: tuple(sign * value for sign, value in zip(signs, row, strict=True))
        for name, row in values.items()
    }
    names: list[str] = []
    # In this order, every dominated point comes after a point of the front that dominates it.
    for name in sorted(points, key=lambda name: (points[name], name)):
        if not any(_dominates(points[other], points[name]) for other in names):
            names.append(name)
    return names


def front_of(
    trials: Sequence[Mapping[str, Any]], metrics: Sequence[Metric]
) -> list[dict[str, Any]]:
    """Return {"trial_id": ..., name of a metric: value, ...} for each trial on the Pareto front.

    `trials` are the trials of a summary.json. Only finished trials that have a value of every
    metric are compared.
    """
    names = [metric.name for metric in metrics]
    values = {}
    for trial in trials:
        row = [trial["value"], *(trial["costs"].get(name) for name in names[1:])]
        if trial["state"] == "finished" and None not in row:
            values[trial["trial_id"]] = row
    return [
        {"trial_id": trial_id, **dict(zip(names, values[trial_id], strict=True))}
        for trial_id in front(values, metrics)
    ]


def _dominates(point: Sequence[float], other: Sequence[float]) -> bool:
    return point != other and all(a <= b for a, b in zip(point, other, strict=True))
