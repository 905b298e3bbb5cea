"""The metric against the size of the generator, with the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.report.charts.axis import Axis, fit
from fastgan_ray.report.charts.layout import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Chart,
    Mark,
    frame,
    rank_label,
    separate_labels,
    svg_path,
)
from fastgan_ray.report.data.ranking import describe_trial, ranked, trial_colours
from fastgan_ray.report.data.run_folder import Run, Trial
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.search.pareto import front

LABEL_WIDTH = 24.0  # with the point that it labels
PARETO = "; on the Pareto front"
ALIKE = 1.01  # sizes that differ by a smaller factor count as the same
# The sizes of a generator that rows have, with a unit and its factor.
SIZES = {
    "params_g": ("millions of parameters of the generator", 1e-6),
    "gflop_g": ("GFLOP of the generator for one picture", 1.0),
}


def size_tradeoff_chart(run: Run, size_name: str) -> Chart | None:
    """Draw the metric over a size, a key of SIZES; None if all generators have the same size."""
    label, factor = SIZES[size_name]
    metric, colours = run["metric"]["name"], trial_colours(run)
    trials = {}
    sizes = {}
    for rank, trial in enumerate(ranked(run), 1):
        values = [row[size_name] for row in trial["rows"] if size_name in row]
        if trial["value"] is not None and values:
            trials[rank], sizes[rank] = trial, values[-1] * factor
    if not sizes or max(sizes.values()) < ALIKE * min(sizes.values()):
        return None
    x = fit(list(sizes.values()), LEFT, RIGHT)
    y = fit([end for trial in trials.values() for end in _interval(trial)], BOTTOM, TOP)
    best = _pareto_front(run["metric"], trials, sizes)
    marks = []
    for rank, trial in trials.items():
        mark = _mark(x, y, sizes[rank], trial)
        text = f"{describe_trial(trial, metric)}; {sizes[rank]:.4g} {label}"
        mark |= {"colour": colours[trial["trial_id"]], "label": rank_label(rank, trial)}
        marks.append(mark | {"best": rank in best, "text": text + PARETO * (rank in best)})
    for group in _crowded(marks):
        separate_labels(group, BOTTOM)
    line = [(x.at(sizes[rank]), y.at(trials[rank]["value"])) for rank in best]
    chart = frame(x, y, label, metric, marks[::-1])
    return chart | {"front": svg_path(line) if len(line) > 1 else ""}


def _interval(trial: Trial) -> tuple[float, float]:
    """Return a trial's value minus and plus its standard error."""
    error = trial["error"] or 0.0
    return trial["value"] - error, trial["value"] + error


def _pareto_front(
    metric: Mapping[str, Any], trials: Mapping[int, Trial], sizes: Mapping[int, float]
) -> list[int]:
    """Return the ranks of the finished trials that no other beats in size and metric."""
    finished = {
        str(rank): (sizes[rank], trial["value"])
        for rank, trial in trials.items()
        if trial["state"] == "finished"
    }
    goals = [Metric(name="size"), Metric(name=metric["name"], goal=metric["goal"])]
    return [int(rank) for rank in front(finished, goals)]


def _mark(x: Axis, y: Axis, size: float, trial: Trial) -> Mark:
    at = (x.at(size), y.at(trial["value"]))
    low, high = map(y.at, _interval(trial))
    return {
        "id": trial["trial_id"],
        "state": trial["state"],
        "x": at[0],
        "y": at[1],
        "end": at,
        "low": low,
        "high": high,
    }


def _crowded(marks: Sequence[Mark]) -> list[list[Mark]]:
    """Group the labelled marks that are so near each other that their labels may overlap."""
    groups: list[list[Mark]] = []
    for mark in sorted((m for m in marks if m["label"]), key=lambda mark: float(mark["x"])):
        if groups and mark["x"] - groups[-1][-1]["x"] < LABEL_WIDTH:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    return groups
