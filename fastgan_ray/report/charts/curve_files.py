"""Write an ablation's learning curves to files: a figure for papers (.svg and .png), and a .csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fastgan_ray.counting import counted
from fastgan_ray.report.data.learning_curves import Point, with_all_seeds
from fastgan_ray.report.data.ranking import arm_colours, arm_dash

Curves = Mapping[tuple[str, str], Sequence[Point]]  # {(arm, data set): points}

COLUMNS = ("arm", "data", "kimg", "seeds", "mean", "low", "high")
# The colour and marker of each class of `arm_colours`. report.html has the same colours. They
# are darker versions of the palette of Okabe and Ito, which colour-blind readers can distinguish.
STYLES = {
    "base": ("#000000", "o"),
    "c1": ("#0072b2", "s"),
    "c2": ("#c94f00", "^"),
    "c3": ("#00805e", "D"),
    "c4": ("#a8407f", "v"),
    "c5": ("#946a00", "P"),
    "c6": ("#6a4fbf", "X"),
}
DASHES = ("-", "--", "-.")
MAX_COLUMNS = 3
# With these settings, the same numbers always give the same bytes in the file.
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "fastgan-ray",
    "text.parse_math": False,  # an arm's name may contain dollar signs
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
METADATA: dict[str, dict[str, str | None]] = {".svg": {"Date": None}, ".png": {}}


def as_csv(curves: Curves) -> str:
    """Return the points of all curves as CSV text, with the columns in COLUMNS."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for (arm, data), points in curves.items():
        writer.writerows({"arm": arm, "data": data, **point} for point in points)
    return text.getvalue()


def draw(curves: Curves, summary: Mapping[str, Any], metric: str, stem: Path) -> None:
    """Write `stem`.svg and `stem`.png, with a panel for each data set and a line for each arm.

    `summary` is the content of ablation.json.
    """
    columns = min(len(summary["data"]), MAX_COLUMNS)
    rows = -(-len(summary["data"]) // columns)
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(2.8 + 5.2 * columns, 0.9 + 3.6 * rows), layout="constrained")
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        for panel in panels[len(summary["data"]) :]:
            panel.set_visible(False)
        for panel, data in zip(panels, summary["data"], strict=False):
            of_data = {arm: points for (arm, name), points in curves.items() if name == data}
            handles = _draw_panel(panel, of_data, summary)
            panel.set_title(data, loc="left")
        _label(figure, handles, summary, metric)
        for suffix, metadata in METADATA.items():
            figure.savefig(stem.with_suffix(suffix), dpi=150, metadata=metadata)


def _label(
    figure: Figure, handles: Sequence[Line2D], summary: Mapping[str, Any], metric: str
) -> None:
    goal = "lower" if summary["metric"]["goal"] == "minimize" else "higher"
    figure.supylabel(f"{metric} ({goal} is better)", fontsize=11)
    figure.supxlabel("thousands of real images shown (kimg)", fontsize=11)
    seeds = counted(len(summary["seeds"]), "seed")
    title = f"{summary['name']}\nline: mean of {seeds}\nband: lowest to highest value"
    legend = figure.legend(handles=handles, loc="outside right upper", title=title)
    legend.set_alignment("left")


def _draw_panel(
    axes: Axes, curves: Mapping[str, Sequence[Point]], summary: Mapping[str, Any]
) -> list[Line2D]:
    """Draw the curves of one data set; return a line for each arm, for the legend."""
    handles = []
    colours = arm_colours(summary)
    for arm in summary["arms"]:
        points, (colour, marker) = curves.get(arm["name"], ()), STYLES[colours[arm["name"]]]
        dashes = DASHES[arm_dash(colours, arm["name"]) % len(DASHES)]
        style: dict[str, Any] = {"color": colour, "marker": marker, "ls": dashes, "lw": 2, "ms": 5}
        kimg, low, high = ([point[key] for point in points] for key in ("kimg", "low", "high"))
        # Where seeds are missing, the mean is over fewer seeds, and the line is dotted.
        axes.plot(*_line(points), lw=1, ls=":", color=colour)
        for part in with_all_seeds(points) or [[]]:
            (handle,) = axes.plot(*_line(part), label=_arm_label(arm, summary), **style)
        axes.fill_between(kimg, low, high, color=colour, alpha=0.12, lw=0)
        handles.append(handle)
    axes.grid(alpha=0.25)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
    axes.set_xlim(left=0)
    return handles


def _line(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [point["kimg"] for point in points], [point["mean"] for point in points]


def _arm_label(arm: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    ended = {state: count for state, count in arm["states"].items() if state != "unfinished"}
    failed = sum(count for state, count in ended.items() if state != "finished")
    failures = f" ({failed} of {sum(ended.values())} failed)" if failed else ""
    baseline = " (baseline)" if arm["name"] == summary["baseline"] else ""
    return f"{arm['name']}{baseline}{failures}"
