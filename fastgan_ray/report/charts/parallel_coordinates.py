"""Compute a chart with parallel axes for parameters and metric, and a line for each trial."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.report.charts.axis import all_numbers, category, fit, value_ticks
from fastgan_ray.report.charts.layout import Chart, separate_labels, svg_path, trial_marks
from fastgan_ray.report.data.ranking import fully_measured, parameter_names
from fastgan_ray.report.data.run_folder import Run

SPACING, MARGIN = 150.0, 84.0
TOP, BOTTOM, HEIGHT = 58.0, 330.0, 352.0
UNSET_HEIGHT = 36.0  # space below the numbers, for trials without the parameter
UNSET = "not set"


def parallel_coordinates_chart(run: Run) -> Chart | None:
    """Return the chart of all trials that have the value of a full evaluation.

    The chart has an axis for each parameter that differs between these trials, and an axis for the
    metric.
    Return None if no parameter differs.
    """
    trials = fully_measured(run)
    names = [
        name
        for name in parameter_names(run)
        if len({_key(trial["point"], name) for trial in trials}) > 1
    ]
    if not names:
        return None
    metric, marks = run["metric"]["name"], trial_marks(run)
    columns = [[trial["point"].get(name, UNSET) for trial in trials] for name in names]
    columns.append([trial["value"] for trial in trials])
    axes = [
        {"name": name, "x": round(MARGIN + SPACING * index, 1), **_axis(column)}
        for index, (name, column) in enumerate(zip([*names, metric], columns, strict=True))
    ]
    series = []
    for index, trial in enumerate(trials):
        line = [(axis["x"], axis["ys"][index]) for axis in axes]
        drawn = {"path": svg_path(line), "dots": [], "end": line[-1]}
        series.append(marks[trial["trial_id"]] | drawn)
    separate_labels(series, HEIGHT)
    return {
        "width": axes[-1]["x"] + MARGIN,
        "height": HEIGHT,
        "top": TOP,
        "bottom": BOTTOM,
        "axes": axes,
        "series": series[::-1],
    }


def _axis(column: Sequence[Any]) -> dict[str, Any]:
    """Return {"ticks", "ys"} of an axis for `column`, which has an entry for each trial.

    An entry is a value or UNSET. "ys" has the y coordinate of each trial. The axis is numeric if
    all values are numbers. Otherwise, it has categories.
    """
    values = [value for value in column if value != UNSET]
    if not values or not all_numbers(values):
        return _category_axis([category(value) for value in column])
    some_unset = len(values) < len(column)
    scale = fit(values, BOTTOM - UNSET_HEIGHT * some_unset, TOP)
    ticks = value_ticks(scale, values)
    if some_unset:
        ticks.append({"at": BOTTOM, "text": UNSET})
    return {
        "ticks": ticks,
        "ys": [BOTTOM if value == UNSET else scale.at(value) for value in column],
    }


def _category_axis(column: Sequence[str]) -> dict[str, Any]:
    names = sorted(set(column), key=lambda name: (name == UNSET, name))
    step = (BOTTOM - TOP) / max(1, len(names) - 1)
    at = {name: round(TOP + step * index, 1) for index, name in enumerate(names)}
    return {
        "ticks": [{"at": y, "text": name} for name, y in at.items()],
        "ys": [at[name] for name in column],
    }


def _key(point: Mapping[str, Any], name: str) -> str:
    return json.dumps(point.get(name, UNSET))
