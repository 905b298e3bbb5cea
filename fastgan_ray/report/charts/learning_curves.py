"""Learning curves for report.html: a line for each trial, or a line and a band for each arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from fastgan_ray.report.data.ablation import FAILED
from fastgan_ray.report.data.learning_curves import Point, trial_curve, with_all_seeds
from fastgan_ray.report.data.ranking import COLOURS, describe_trial, ranked, trial_colours
from fastgan_ray.report.data.run_folder import Run

X_LABEL = "thousands of images shown (kimg)"


def trial_curves_chart(run: Run, metric: str) -> Chart | None:
    """Draw `metric` of every trial over images shown, the best on top; None without values."""
    colours, order = trial_colours(run), ranked(run)
    curves = [trial_curve(trial, metric) for trial in order]
    points = [point for curve in curves for point in curve]
    if not points:
        return None
    x = fit([kimg for kimg, _ in points], LEFT, RIGHT, zero=True, log=False)
    y = fit([value for _, value in points], BOTTOM, TOP)
    series: list[Mark] = []
    for rank, (trial, curve) in enumerate(zip(order, curves, strict=True), 1):
        if curve:
            line = [(x.at(kimg), y.at(value)) for kimg, value in curve]
            series.append(
                {
                    "id": trial["trial_id"],
                    "colour": colours[trial["trial_id"]],
                    "state": trial["state"],
                    "failed": trial["state"] in FAILED,
                    "path": svg_path(line),
                    "dots": line,
                    "end": line[-1],
                    "label": rank_label(rank, trial),
                    "text": describe_trial(trial, run["metric"]["name"]),
                }
            )
    separate_labels([mark for mark in series if mark["label"]], BOTTOM)
    return frame(x, y, X_LABEL, metric, series[::-1])


def arm_curves_chart(
    curves: Mapping[str, Sequence[Point]], colours: Mapping[str, str], metric: str
) -> Chart | None:
    """Draw the arms on one data set over images shown: mean, lowest and highest over seeds.

    `curves` are by arm, as `arm_curves` computes them; None without values. Arms are numbered in
    the order of `colours`.
    """
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return None
    x = fit([point["kimg"] for point in points], LEFT, RIGHT, zero=True, log=False)
    y = fit([point[side] for point in points for side in ("low", "high")], BOTTOM, TOP)
    series = [
        _arm_mark(x, y, number, arm, curves[arm]) | {"colour": colours[arm]}
        for number, arm in enumerate(colours, 1)
        if curves.get(arm)
    ]
    separate_labels(series, BOTTOM)
    return frame(x, y, X_LABEL, metric, series)


def _arm_mark(x: Axis, y: Axis, number: int, arm: str, curve: Sequence[Point]) -> Mark:
    def line(points: Sequence[Point], value: str) -> list[tuple[float, float]]:
        return [(x.at(point["kimg"]), y.at(point[value])) for point in points]

    mean, last = line(curve, "mean"), curve[-1]
    return {
        "id": arm,
        "label": str(number),
        "dash": (number - 1) // (COLOURS + 1),
        "path": svg_path(line(with_all_seeds(curve), "mean")),
        "partial": svg_path(mean) if last["seeds"] < curve[0]["seeds"] else "",
        "band": f"{svg_path(line(curve, 'low') + line(curve, 'high')[::-1])}Z",
        "dots": mean,
        "end": mean[-1],
        "text": f"{arm}: mean {last['mean']:.4g} of {last['seeds']} seeds at {last['kimg']:g} "
        f"kimg, from {last['low']:.4g} to {last['high']:.4g}",
    }
