"""Parallel coordinates: an axis for each parameter and the metric, a line for each trial."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.report.charts.axis import all_numbers, category, fit, value_ticks
from fastgan_ray.report.charts.layout import Chart, Mark, separate_labels, svg_path
from fastgan_ray.report.data.ranking import (
    describe_trial,
    parameter_names,
    ranked,
    trial_colours,
)
from fastgan_ray.report.data.run_folder import Run

SPACING, MARGIN = 150.0, 84.0
TOP, BOTTOM, HEIGHT = 58.0, 330.0, 352.0
UNSET_HEIGHT = 36.0  # below the numbers, for trials without the parameter
UNSET = "not set"


def parallel_coordinates_chart(run: Run) -> Chart | None:
    """Draw the trials with a value over the parameters that differ; None if none differs."""
    trials = [trial for trial in ranked(run) if trial["value"] is not None]
    names = [
        name
        for name in parameter_names(run)
        if len({_key(trial["point"], name) for trial in trials}) > 1
    ]
    if not names:
        return None
    colours, metric = trial_colours(run), run["metric"]["name"]
    columns = [[trial["point"].get(name, UNSET) for trial in trials] for name in names]
    columns.append([trial["value"] for trial in trials])
    axes = [
        {"name": name, "x": round(MARGIN + SPACING * index, 1), **_axis(column)}
        for index, (name, column) in enumerate(zip([*names, metric], columns, strict=True))
    ]
    series: list[Mark] = [
        {
            "id": trial["trial_id"],
            "colour": colours[trial["trial_id"]],
            "state": trial["state"],
            "path": svg_path([(axis["x"], axis["ys"][index]) for axis in axes]),
            "dots": [],
            "label": "" if colours[trial["trial_id"]] == "c0" else str(index + 1),
            "end": (axes[-1]["x"], axes[-1]["ys"][index]),
            "text": describe_trial(trial, metric),
        }
        for index, trial in enumerate(trials)
    ]
    separate_labels([mark for mark in series if mark["label"]], HEIGHT)
    return {
        "width": axes[-1]["x"] + MARGIN,
        "height": HEIGHT,
        "top": TOP,
        "bottom": BOTTOM,
        "axes": axes,
        "series": series[::-1],
    }


def _axis(column: Sequence[Any]) -> dict[str, Any]:
    """Return {"ticks", "ys" (one for each trial)}: by number if all set values are numbers."""
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
