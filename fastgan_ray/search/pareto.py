"""Which trials no other one beats in every metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.search.file.options import Metric


def front(values: Mapping[str, Sequence[float]], metrics: Sequence[Metric]) -> list[str]:
    """The names that are not dominated, the best in the first metric first.

    One dominates another if it is as good in every metric and better in one. `values` holds, by
    name, a value of each of `metrics`.
    """
    signs = [-1 if metric.goal == "maximize" else 1 for metric in metrics]
    points = {
        name: tuple(sign * value for sign, value in zip(signs, own, strict=True))
        for name, own in values.items()
    }
    kept: list[str] = []
    # Whoever dominates another one comes before it in this order, or a third one does.
    for name in sorted(points, key=lambda name: (points[name], name)):
        own = points[name]
        if all(points[one] == own or not _as_good(points[one], own) for one in kept):
            kept.append(name)
    return kept


def front_of(
    trials: Sequence[Mapping[str, Any]], metrics: Sequence[Metric]
) -> list[dict[str, Any]]:
    """The front of the finished trials of a summary: {"trial_id", and each metric's value}."""
    rows = {
        trial["trial_id"]: [
            trial["value"],
            *(trial["costs"].get(cost.name) for cost in metrics[1:]),
        ]
        for trial in trials
        if trial["state"] == "finished"
    }
    whole = {name: own for name, own in rows.items() if None not in own}
    names = [metric.name for metric in metrics]
    return [
        {"trial_id": name, **dict(zip(names, whole[name], strict=True))}
        for name in front(whole, metrics)
    ]


def _as_good(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))
