"""Parallel coordinates: an axis for each parameter and the metric, a line for each trial."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.report.charts.axis import fit, numeric, value_ticks, word
from fastgan_ray.report.charts.charts import Chart, part_numbers, polyline
from fastgan_ray.report.data.ranking import colours, parameters, ranked, sentence
from fastgan_ray.report.data.run_folder import Run

SPACING, MARGIN = 150.0, 84.0
TOP, BOTTOM, HEIGHT = 58.0, 330.0, 352.0
UNSET = "not set"


def parallel(run: Run) -> Chart | None:
    """Trials with a value over the parameters that differ among them; None where none differs."""
    trials = [trial for trial in ranked(run) if trial["value"] is not None]
    names = [name for name in parameters(run) if len({_key(t["point"], name) for t in trials}) > 1]
    if not names:
        return None
    colour, metric = colours(run), run["metric"]["name"]
    xs = [round(MARGIN + SPACING * number, 1) for number in range(len(names) + 1)]
    values = [[trial["point"].get(name, UNSET) for trial in trials] for name in names]
    values.append([trial["value"] for trial in trials])
    axes = [
        {"name": name, "x": x, **_axis(column)}
        for name, x, column in zip([*names, metric], xs, values, strict=True)
    ]
    lines = [
        {
            "id": trial["trial_id"],
            "colour": colour[trial["trial_id"]],
            "state": trial["state"],
            "path": polyline([(axis["x"], axis["ys"][number]) for axis in axes]),
            "number": number + 1,
            "end": (xs[-1], axes[-1]["ys"][number]),
            "text": sentence(trial, metric),
        }
        for number, trial in enumerate(trials)
    ]
    part_numbers([line for line in lines if line["colour"] != "c0"], HEIGHT)
    return {
        "width": xs[-1] + MARGIN,
        "height": HEIGHT,
        "top": TOP,
        "bottom": BOTTOM,
        "axes": axes,
        "series": lines[::-1],
    }


def _axis(column: Sequence[Any]) -> dict[str, Any]:
    """{"ticks", "ys" (of each trial)}: by number where all that is set is one, else by name."""
    given = [value for value in column if value != UNSET]
    if given and numeric(given):
        unset = len(given) < len(column)
        scale = fit(given, BOTTOM - (36 if unset else 0), TOP)
        ticks = value_ticks(scale, given)
        if unset:
            ticks.append({"at": BOTTOM, "text": UNSET})
        return {
            "ticks": ticks,
            "ys": [BOTTOM if value == UNSET else scale.at(value) for value in column],
        }
    names = sorted({word(value) for value in column}, key=lambda text: (text == UNSET, text))
    step = (BOTTOM - TOP) / max(1, len(names) - 1)
    at = {name: round(TOP + step * number, 1) for number, name in enumerate(names)}
    return {
        "ticks": [{"at": y, "text": name} for name, y in at.items()],
        "ys": [at[word(value)] for value in column],
    }


def _key(point: Mapping[str, Any], name: str) -> str:
    return json.dumps(point.get(name, UNSET))
