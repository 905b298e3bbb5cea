"""The Pareto front of several metrics: the trials that no other trial dominates.

Optuna's `study.best_trials` does not serve here: reports are made from summary.json alone, and the
study does not count a trial that took over another one's weights as finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.search.file.metric import Metric


def front(values: Mapping[str, Sequence[float]], metrics: Sequence[Metric]) -> list[str]:
    """Return the names that no other dominates, the best in the first metric first.

    `values` holds, by name, a value of each of `metrics`. A point dominates another if it is as
    good in every metric and better in one.
    """
    signs = [-1 if metric.goal == "maximize" else 1 for metric in metrics]
    points = {
        name: tuple(sign * value for sign, value in zip(signs, row, strict=True))
        for name, row in values.items()
    }
    names: list[str] = []
    # In this order a dominated point comes after one that dominates it and is itself on the front.
    for name in sorted(points, key=lambda name: (points[name], name)):
        if not any(_dominates(points[other], points[name]) for other in names):
            names.append(name)
    return names


def front_of(
    trials: Sequence[Mapping[str, Any]], metrics: Sequence[Metric]
) -> list[dict[str, Any]]:
    """Return the front of a summary's finished trials: {"trial_id", and each metric's value}."""
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
