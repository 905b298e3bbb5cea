"""Compute the chart of the metric against the generator's size, with the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.report.charts import layout
from fastgan_ray.report.charts.layout import Chart, Mark, svg_path
from fastgan_ray.report.data.ranking import fully_measured
from fastgan_ray.report.data.run_folder import Run, Trial
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.search.pareto import front

LABEL_WIDTH = 24.0  # width of a label together with its point
PARETO = "; on the Pareto front"
ALIKE = 1.01  # sizes that differ by a smaller factor count as the same
# For each size metric: the axis label, and the factor that converts the metric to its unit.
SIZES = {
    "params_g": ("millions of parameters of the generator", 1e-6),
    "gflop_g": ("GFLOP of the generator for one picture", 1.0),
}


def size_tradeoff_chart(run: Run, size_name: str) -> Chart | None:
    """Return a chart of the metric against the generator's size.

    `size_name` is a key of SIZES. Return None if no trial has a size, or if all generators have
    about the same size.
    """
    label, factor = SIZES[size_name]
    trials, sizes = {}, {}
    for trial in fully_measured(run):
        values = [row[size_name] for row in trial["rows"] if size_name in row]
        if values:
            trials[trial["trial_id"]] = trial
            sizes[trial["trial_id"]] = values[-1] * factor
    if not sizes or max(sizes.values()) < ALIKE * min(sizes.values()):
        return None
    x = layout.x_axis(list(sizes.values()))
    y = layout.y_axis([end for trial in trials.values() for end in _interval(trial)])
    best, marks = _pareto_front(run["metric"], trials, sizes), layout.trial_marks(run)
    series = []
    for name, trial in trials.items():
        at, (low, high) = (x.at(sizes[name]), y.at(trial["value"])), map(y.at, _interval(trial))
        mark = marks[name] | {"x": at[0], "y": at[1], "end": at, "low": low, "high": high}
        mark |= {"best": name in best}
        mark["text"] += f"; {sizes[name]:.4g} {label}" + PARETO * mark["best"]
        series.append(mark)
    for group in _crowded(series):
        layout.separate_labels(group)
    line = [(x.at(sizes[name]), y.at(trials[name]["value"])) for name in best]
    chart = layout.frame(x, y, label, run["metric"]["name"], series[::-1])
    return chart | {"front": svg_path(line) if len(line) > 1 else ""}


def _interval(trial: Trial) -> tuple[float, float]:
    """Return the ends of a trial's interval: its value minus and plus the standard error."""
    error = trial["error"] or 0.0
    return trial["value"] - error, trial["value"] + error


def _pareto_front(
    metric: Mapping[str, Any], trials: Mapping[str, Trial], sizes: Mapping[str, float]
) -> list[str]:
    """Return the ids of the finished trials on the Pareto front of size and metric.

    The ids are sorted by size, smallest first.
    """
    finished = {
        name: (sizes[name], trial["value"])
        for name, trial in trials.items()
        if trial["state"] == "finished"
    }
    goals = [Metric(name="size"), Metric(name=metric["name"], goal=metric["goal"])]
    return front(finished, goals)


def _crowded(marks: Sequence[Mark]) -> list[list[Mark]]:
    """Group the marks that have a label; labels of different groups cannot overlap."""
    groups: list[list[Mark]] = []
    labelled = (mark for mark in marks if mark["label"])
    for mark in sorted(labelled, key=lambda mark: float(mark["x"])):
        if groups and mark["x"] - groups[-1][-1]["x"] < LABEL_WIDTH:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    return groups
