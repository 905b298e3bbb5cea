"""Charts as plain data: every coordinate is known here, and a template only draws them.

A chart is {"width", "height", "left", "right", "top", "bottom", "x": {"label", "ticks"}, "y": ...,
"series": [...]} or None where there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.report.charts.axis import Axis, fit
from fastgan_ray.report.data.ablation import FAILED
from fastgan_ray.report.data.ranking import COLOURS, colours, ranked, sentence
from fastgan_ray.report.data.run_folder import Run, Trial
from fastgan_ray.search.file.options import Metric
from fastgan_ray.search.pareto import front

Chart = dict[str, Any]

WIDTH, HEIGHT = 640.0, 400.0
NUMBER_HEIGHT = 15.0
NUMBER_WIDTH = 24.0  # with the point it stands beside
ALIKE = 1.01  # sizes within this factor are the same to whoever chooses
LEFT, RIGHT, TOP, BOTTOM = 74.0, 598.0, 20.0, 336.0
SIZES = {
    "params_g": ("millions of parameters of the generator", 1e-6),
    "gflop_g": ("GFLOP of the generator for one picture", 1.0),
}


def frame(x: Axis, y: Axis, x_label: str, y_label: str, series: Sequence[Any]) -> Chart:
    """A chart of series that are drawn already."""
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": RIGHT,
        "top": TOP,
        "bottom": BOTTOM,
        "x": {"label": x_label, "ticks": x.ticks()},
        "y": {"label": f"{y_label}{', logarithmic' if y.log else ''}", "ticks": y.ticks()},
        "series": list(series),
    }


def learning(run: Run, name: str) -> Chart | None:
    """The metric `name` of every trial over thousands of images; the best on top, numbered."""
    metric, colour = run["metric"]["name"], colours(run)
    order = ranked(run)
    points = {
        trial["trial_id"]: [(row["kimg"], row[name]) for row in trial["rows"] if name in row]
        for trial in order
    }
    every = [point for own in points.values() for point in own]
    if not every:
        return None
    x = fit([kimg for kimg, _ in every], LEFT, RIGHT, zero=True, log=False)
    y = fit([value for _, value in every], BOTTOM, TOP)
    series = []
    for number, trial in enumerate(order, 1):
        placed = [(x.at(kimg), y.at(value)) for kimg, value in points[trial["trial_id"]]]
        if placed:
            series.append(
                {
                    "id": trial["trial_id"],
                    "colour": colour[trial["trial_id"]],
                    "state": trial["state"],
                    "bad": trial["state"] in FAILED,
                    "path": polyline(placed),
                    "dots": placed,
                    "end": placed[-1],
                    "number": _rank(number, trial),
                    "text": sentence(trial, metric),
                }
            )
    part_numbers([one for one in series if one["number"]], BOTTOM)
    return frame(x, y, "thousands of images shown (kimg)", name, series[::-1])


def _rank(number: int, trial: Trial) -> str:
    """What is written beside a trial: its rank, if it is among the first."""
    return str(number) if number <= COLOURS and trial["value"] is not None else ""


def part_numbers(series: Sequence[dict[str, Any]], bottom: float) -> None:
    """Give each its "number_y" beside its "end", above `bottom`, where no two lie on each other."""
    order = sorted(series, key=lambda one: float(one["end"][1]))
    last = -NUMBER_HEIGHT
    for one in order:
        one["number_y"] = last = max(one["end"][1], last + NUMBER_HEIGHT)
    last = bottom + NUMBER_HEIGHT
    for one in reversed(order):
        one["number_y"] = last = min(one["number_y"], last - NUMBER_HEIGHT)


def polyline(points: Sequence[tuple[float, float]]) -> str:
    """The points, joined, as an SVG path has them."""
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in points)


def trade(run: Run, name: str) -> Chart | None:
    """The metric against a generator's size, of which `SIZES` has the names, with the front."""
    label, factor = SIZES[name]
    metric, colour = run["metric"], colours(run)
    found = []
    for number, trial in enumerate(ranked(run), 1):
        own = [row[name] for row in trial["rows"] if name in row]
        if trial["value"] is not None and own:
            found.append((own[-1] * factor, number, trial))
    sizes = [size for size, _, _ in found]
    if not found or max(sizes) < ALIKE * min(sizes):
        return None
    x = fit(sizes, LEFT, RIGHT)
    ends = [
        trial["value"] + sign * (trial["error"] or 0.0) for _, _, trial in found for sign in (-1, 1)
    ]
    y = fit(ends, BOTTOM, TOP)
    points = [_point(x, y, value, number, trial, metric["name"]) for value, number, trial in found]
    for point, (_, _, trial) in zip(points, found, strict=True):
        point["colour"] = colour[trial["trial_id"]]
    finished = {
        trial["trial_id"]: (size, trial["value"])
        for size, _, trial in found
        if trial["state"] == "finished"
    }
    best = front(finished, [Metric(name, "minimize"), Metric(metric["name"], metric["goal"])])
    for point, (_, _, trial) in zip(points, found, strict=True):
        point["best"] = trial["trial_id"] in best
        point["text"] += ", which no other beats in both" if point["best"] else ""
    for beside in _beside(points):
        part_numbers(beside, BOTTOM)
    edge = [(x.at(size), y.at(value)) for size, value in map(finished.__getitem__, best)]
    chart = frame(x, y, label + (", logarithmic" if x.log else ""), metric["name"], points[::-1])
    return chart | {"front": polyline(edge) if len(edge) > 1 else ""}


def _beside(points: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Numbered points in groups that stand so near each other that their numbers may touch."""
    groups: list[list[dict[str, Any]]] = []
    for point in sorted((one for one in points if one["number"]), key=lambda one: float(one["x"])):
        if groups and point["x"] - groups[-1][-1]["x"] < NUMBER_WIDTH:
            groups[-1].append(point)
        else:
            groups.append([point])
    return groups


def _point(x: Axis, y: Axis, size: float, number: int, trial: Trial, metric: str) -> dict[str, Any]:
    error = trial["error"] or 0.0
    return {
        "id": trial["trial_id"],
        "state": trial["state"],
        "x": x.at(size),
        "y": y.at(trial["value"]),
        "end": (x.at(size), y.at(trial["value"])),
        "low": y.at(trial["value"] - error),
        "high": y.at(trial["value"] + error),
        "number": _rank(number, trial),
        "text": f"{sentence(trial, metric)}; {size:.4g} on the horizontal axis",
    }


def bands(
    points: Sequence[Mapping[str, Any]], colour: Mapping[str, str], name: str
) -> Chart | None:
    """One data set's arms over thousands of images: mean over seeds, and lowest to highest."""
    if not points:
        return None
    x = fit([point["kimg"] for point in points], LEFT, RIGHT, zero=True, log=False)
    y = fit([point[side] for point in points for side in ("low", "high")], BOTTOM, TOP)
    series = []
    for number, arm in enumerate(colour, 1):
        own = [point for point in points if point["arm"] == arm]
        if not own:
            continue
        mean = [(x.at(point["kimg"]), y.at(point["mean"])) for point in own]
        low = [(x.at(point["kimg"]), y.at(point["low"])) for point in own]
        high = [(x.at(point["kimg"]), y.at(point["high"])) for point in reversed(own)]
        last = own[-1]
        series.append(
            {
                "id": arm,
                "colour": colour[arm],
                "number": number,
                "dash": (number - 1) // 7,
                "path": polyline(mean),
                "band": f"{polyline(low + high)}Z",
                "dots": mean,
                "end": mean[-1],
                "text": f"{arm}: mean {last['mean']:.4g} of {last['seeds']} seeds at "
                f"{last['kimg']:g} kimg, from {last['low']:.4g} to {last['high']:.4g}",
            }
        )
    part_numbers(series, BOTTOM)
    return frame(x, y, "thousands of images shown (kimg)", name, series)


def intervals(account: Mapping[str, Any], colour: Mapping[str, str]) -> Chart | None:
    """Each arm's difference from the baseline with its interval, a row each, and the line at 0."""
    arms = [
        arm
        for arm in account["arms"]
        if arm["comparison"] and arm["comparison"]["mean"] is not None
    ]
    if not arms:
        return None
    keys = ("low", "mean", "high")
    found = [arm["comparison"][key] for arm in arms for key in keys]
    x = fit([0.0, *(value for value in found if value is not None)], 24.0, 616.0, log=False)
    rows = []
    for number, arm in enumerate(arms):
        compared = arm["comparison"]
        ends = [compared[key] if compared[key] is not None else compared["mean"] for key in keys]
        rows.append(
            {
                "id": arm["name"],
                "colour": colour[arm["name"]],
                "verdict": compared["verdict"],
                "y": 52.0 * number + 40,
                **{key: x.at(end) for key, end in zip(keys, ends, strict=True)},
            }
        )
    bottom = 52.0 * len(arms) + 12
    return {
        "width": WIDTH,
        "height": bottom + 62,
        "bottom": bottom,
        "zero": x.at(0.0),
        "x": {"label": f"difference from {account['baseline']}", "ticks": x.ticks()},
        "rows": rows,
    }


def importance_bars(values: Mapping[str, float]) -> list[dict[str, Any]]:
    """{"name", "share" (of all, in percent), "width" (of the longest, in percent)} of each."""
    longest = max(values.values(), default=0.0) or 1.0
    return [
        {"name": name, "share": f"{100 * value:.0f} %", "width": f"{100 * value / longest:.1f}"}
        for name, value in values.items()
    ]
