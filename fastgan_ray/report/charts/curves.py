"""The metric over images shown, for each arm: mean and range over seeds, as picture and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fastgan_ray.metrics.names import early_name

Point = dict[str, Any]

COLUMNS = ("arm", "data", "kimg", "seeds", "mean", "low", "high")
# Okabe and Ito's colours, which the colour-blind tell apart; black is the baseline's.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
MARKERS = ("s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.")
MOST_COLUMNS = 3
# The same numbers give the same file, byte for byte.
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "fastgan-ray",
    "text.parse_math": False,  # an arm's name is text, dollars and all
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
DATELESS: dict[str, dict[str, str | None]] = {".svg": {"Date": None}, ".png": {}}


def curve_name(trials: Sequence[dict[str, Any]], metric: str) -> str:
    """What the curves show: `metric`, or its cheap evaluations where there are any.

    Cheap and full values do not compare, so that no curve is made of both.
    """
    early = early_name(metric)
    return early if any(early in row for trial in trials for row in trial["rows"]) else metric


def curves(trials: Sequence[dict[str, Any]], name: str) -> list[Point]:
    """Mean, lowest and highest `name` over seeds, wherever it was measured, by arm and data set.

    `seeds` says over how many: a failed training is in its arm's curve as far as it came.
    """
    values: dict[tuple[str, str], dict[float, list[float]]] = {}
    for trial in trials:
        found = values.setdefault((trial["arm"], trial["data"]), {})
        for row in trial["rows"]:
            if name in row:
                found.setdefault(row["kimg"], []).append(row[name])
    points = []
    for (arm, data), found in values.items():
        for kimg, numbers in sorted(found.items()):
            row = (arm, data, kimg, len(numbers))
            range_ = (sum(numbers) / len(numbers), min(numbers), max(numbers))
            points.append(dict(zip(COLUMNS, (*row, *range_), strict=True)))
    return points


def as_csv(points: Sequence[Point]) -> str:
    """The points as a table."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(points)
    return text.getvalue()


def draw(points: Sequence[Point], summary: dict[str, Any], name: str, stem: Path) -> None:
    """Write `stem`.svg and `stem`.png: a panel for each data set, a line for each arm."""
    data = summary["data"]
    columns = min(len(data), MOST_COLUMNS)
    rows = -(-len(data) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.8 + 5.2 * columns, 0.9 + 3.6 * rows), layout="constrained")
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        for panel in panels[len(data) :]:
            panel.set_visible(False)
        for panel, own in zip(panels, data, strict=False):
            here = [point for point in points if point["data"] == own]
            handles = _panel(panel, here, summary)
            panel.set_title(own, loc="left")
        goal = "lower" if summary["metric"]["goal"] == "minimize" else "higher"
        figure.supylabel(f"{name} ({goal} is better)", fontsize=11)
        figure.supxlabel("thousands of real images shown (kimg)", fontsize=11)
        seeds = len(summary["seeds"])
        title = f"{summary['name']}\nmean of {seeds} seeds,\nband: lowest to highest"
        legend = figure.legend(handles=handles, loc="outside right upper", title=title)
        legend.set_alignment("left")
        for suffix, metadata in DATELESS.items():
            figure.savefig(stem.with_suffix(suffix), dpi=150, metadata=metadata)


def _panel(axes: Axes, points: Sequence[Point], summary: dict[str, Any]) -> list[Line2D]:
    """Draw one data set; returns a line for each arm, for the legend."""
    others = [arm["name"] for arm in summary["arms"] if arm["name"] != summary["baseline"]]
    handles = []
    for arm in summary["arms"]:
        own = [point for point in points if point["arm"] == arm["name"]]
        whole = [point for point in own if point["seeds"] == max(p["seeds"] for p in own)]
        style = _style(arm["name"], others)
        # Where seeds have dropped out, the mean is of others than before: dotted.
        axes.plot(*_line(own), lw=1, ls=":", color=style["color"])
        (line,) = axes.plot(*_line(whole), lw=2, ms=5, label=_label(arm, summary), **style)
        kimg = [point["kimg"] for point in own]
        low, high = ([point[side] for point in own] for side in ("low", "high"))
        axes.fill_between(kimg, low, high, color=style["color"], alpha=0.12, lw=0)
        handles.append(line)
    axes.grid(alpha=0.25)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
    axes.set_xlim(left=0)
    return handles


def _line(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [point["kimg"] for point in points], [point["mean"] for point in points]


def _style(arm: str, others: Sequence[str]) -> dict[str, Any]:
    if arm not in others:
        return {"color": "#000000", "marker": "o", "ls": "-"}
    number = others.index(arm)
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "ls": DASHES[number // len(COLOURS) % len(DASHES)],
    }


def _label(arm: dict[str, Any], summary: dict[str, Any]) -> str:
    ended = {state: n for state, n in arm["states"].items() if state != "unfinished"}
    failed = sum(count for state, count in ended.items() if state != "finished")
    counted = f" ({failed} of {sum(ended.values())} failed)" if failed else ""
    baseline = " (baseline)" if arm["name"] == summary["baseline"] else ""
    return f"{arm['name']}{baseline}{counted}"
