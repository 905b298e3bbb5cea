"""Compute parts that all charts use: a frame with axes, lines, and labels without overlap.

A chart is plain data with all coordinates, and a template draws it. Most charts are {"width",
"height", "left", "right", "top", "bottom", "x": {"label", "ticks"}, "y": {"label", "ticks"},
"series"}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastgan_ray.report.charts.axis import Axis, fit
from fastgan_ray.report.data.ranking import COLOURS, describe_trial, ranked, trial_colours
from fastgan_ray.report.data.run_folder import Run

Chart = dict[str, Any]
Mark = dict[str, Any]  # a trial or an arm in a chart

WIDTH, HEIGHT = 640.0, 400.0
LEFT, RIGHT, TOP, BOTTOM = 74.0, 598.0, 20.0, 336.0
LABEL_HEIGHT = 15.0


def kimg_axis(values: Sequence[float]) -> Axis:
    """Return a horizontal axis from 0 for the number of images shown, in thousands (kimg)."""
    return fit(values, LEFT, RIGHT, zero=True, log=False)


def x_axis(values: Sequence[float]) -> Axis:
    """Return a horizontal axis that contains all `values`."""
    return fit(values, LEFT, RIGHT)


def y_axis(values: Sequence[float]) -> Axis:
    """Return a vertical axis that contains all `values`."""
    return fit(values, BOTTOM, TOP)


def frame(x: Axis, y: Axis, x_label: str, y_label: str, series: Sequence[Mark]) -> Chart:
    """Return a chart with two axes and the marks in `series`, which already have coordinates."""
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": RIGHT,
        "top": TOP,
        "bottom": BOTTOM,
        "x": {"label": axis_label(x, x_label), "ticks": x.ticks()},
        "y": {"label": axis_label(y, y_label), "ticks": y.ticks()},
        "series": list(series),
    }


def axis_label(axis: Axis, label: str) -> str:
    """Return `label`, with ", logarithmic" added if the axis is logarithmic."""
    return f"{label}, logarithmic" if axis.log else label


def trial_marks(run: Run) -> dict[str, Mark]:
    """Return {trial id: mark} of all trials; every chart of trials uses these marks.

    A mark is {"id", "colour", "state", "label", "text"}. The label of the six best trials is their
    rank; the label of other trials is "".
    """
    colours, metric = trial_colours(run), run["metric"]["name"]
    return {
        trial["trial_id"]: {
            "id": trial["trial_id"],
            "colour": colours[trial["trial_id"]],
            "state": trial["state"],
            "label": str(rank) if rank <= COLOURS and trial["value"] is not None else "",
            "text": describe_trial(trial, metric),
        }
        for rank, trial in enumerate(ranked(run), 1)
    }


def separate_labels(marks: Sequence[Mark], bottom: float = BOTTOM) -> None:
    """Set "label_y" of each mark that has a label, so that the labels do not overlap.

    "end" is the point (x, y) that has the label; "label_y" is near its y coordinate. No label is
    below the coordinate `bottom`.
    """
    labelled = (mark for mark in marks if mark["label"])
    order = sorted(labelled, key=lambda mark: float(mark["end"][1]))
    last = -LABEL_HEIGHT
    for mark in order:
        mark["label_y"] = last = max(mark["end"][1], last + LABEL_HEIGHT)
    last = bottom + LABEL_HEIGHT
    for mark in reversed(order):
        mark["label_y"] = last = min(mark["label_y"], last - LABEL_HEIGHT)


def svg_path(points: Sequence[tuple[float, float]]) -> str:
    """Return an SVG path that joins the points (x, y) with straight lines."""
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in points)
