"""Compute charts of learning curves: a line for each trial, or a line and a band for each arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastgan_ray.counting import counted
from fastgan_ray.metrics.names import value_of
from fastgan_ray.report.charts import layout
from fastgan_ray.report.charts.axis import Axis
from fastgan_ray.report.charts.layout import Chart, Mark, svg_path
from fastgan_ray.report.data.ablation import FAILED
from fastgan_ray.report.data.learning_curves import Point, trial_curve, with_all_seeds
from fastgan_ray.report.data.ranking import arm_dash, ranked, trial_colours
from fastgan_ray.report.data.run_folder import Run
from fastgan_ray.search.expected import format_chance, format_expected

X_LABEL = "thousands of images shown (kimg)"


def trial_curves_chart(run: Run, metric: str) -> Chart | None:
    """Return a chart of `metric` against images shown, with a line for each trial.

    The best trial is drawn on top. Return None if no trial has a value.
    """
    curves = {trial["trial_id"]: trial_curve(trial, metric) for trial in ranked(run)}
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return None
    x = layout.kimg_axis([kimg for kimg, _ in points])
    y = layout.y_axis([value for _, value in points])
    marks = layout.trial_marks(run)
    series = []
    for name, curve in curves.items():
        if curve:
            line = [(x.at(kimg), y.at(value)) for kimg, value in curve]
            drawn = {"path": svg_path(line), "dots": line, "end": line[-1]}
            series.append(marks[name] | drawn | {"failed": marks[name]["state"] in FAILED})
    layout.separate_labels(series)
    return layout.frame(x, y, X_LABEL, metric, series[::-1])


def arm_curves_chart(
    curves: Mapping[str, Sequence[Point]], colours: Mapping[str, str], metric: str
) -> Chart | None:
    """Return a chart of `metric` on one data set, with a line and a band for each arm.

    The line is the mean over seeds. The band is from the lowest to the highest value. `curves` maps
    each arm to its points from `arm_curves`. `colours` maps each arm to its colour. The label of a
    line is the arm's position in `colours`, from 1. Return None if there are no points.
    """
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return None
    x = layout.kimg_axis([point["kimg"] for point in points])
    y = layout.y_axis([point[side] for point in points for side in ("low", "high")])
    series = [
        _arm_mark(x, y, number, arm, curves[arm])
        | {"colour": colours[arm], "dash": arm_dash(colours, arm)}
        for number, arm in enumerate(colours, 1)
        if curves.get(arm)
    ]
    layout.separate_labels(series)
    return layout.frame(x, y, X_LABEL, metric, series)


def expected_curves_chart(run: Run) -> Chart | None:
    """Return a chart of the expected learning curves of a search's best configurations.

    A line is the expected value of a new training, and its band is the interval. Dots are the
    measured values of the configuration's trial. Colour and label (the rank) are those of the trial
    in all charts. Return None if there are no expected values.
    """
    curves = ((run["account"] or {}).get("ranking") or {}).get("curves")
    if not curves:
        return None
    metric = run["metric"]["name"]
    trials = {trial["trial_id"]: trial for trial in run["trials"]}
    measured = {
        name: [
            (row["kimg"], value)
            for row in trials[name]["rows"]
            if (value := value_of(row, metric)) is not None
        ]
        for name in curves
    }
    bands = [point for curve in curves.values() for point in curve]
    dots = [point for values in measured.values() for point in values]
    x = layout.kimg_axis([kimg for kimg, *_ in (*bands, *dots)])
    y = layout.y_axis([value for _, *values in (*bands, *dots) for value in values])
    series = []
    colours, order = trial_colours(run), [trial["trial_id"] for trial in ranked(run)]
    for name, curve in curves.items():
        kimgs, values, low, high = zip(*curve, strict=True)
        line, lower, upper = (
            [(x.at(kimg), y.at(value)) for kimg, value in zip(kimgs, part, strict=True)]
            for part in (values, low, high)
        )
        series.append(
            {
                "id": name,
                "label": str(order.index(name) + 1),
                "colour": colours[name],
                "dash": 0,
                "path": svg_path(line),
                "partial": "",
                "band": f"{svg_path(lower + upper[::-1])}Z",
                "dots": [(x.at(kimg), y.at(value)) for kimg, value in measured[name]],
                "end": line[-1],
                "text": f"trial {name}: expected {metric} {format_expected(trials[name])}, chance "
                f"of being the best {format_chance(trials[name])}",
            }
        )
    layout.separate_labels(series)
    return layout.frame(x, y, X_LABEL, metric, series)


def _arm_mark(x: Axis, y: Axis, number: int, arm: str, curve: Sequence[Point]) -> Mark:
    def line(points: Sequence[Point], value: str) -> list[tuple[float, float]]:
        return [(x.at(point["kimg"]), y.at(point[value])) for point in points]

    mean, last = line(curve, "mean"), curve[-1]
    return {
        "id": arm,
        "label": str(number),
        "path": "".join(svg_path(line(part, "mean")) for part in with_all_seeds(curve)),
        "partial": svg_path(mean) if with_all_seeds(curve) != [[*curve]] else "",
        "band": f"{svg_path(line(curve, 'low') + line(curve, 'high')[::-1])}Z",
        "dots": mean,
        "end": mean[-1],
        "text": f"{arm}: mean {last['mean']:.4g} over {counted(last['seeds'], 'seed')} at "
        f"{last['kimg']:g} kimg (lowest {last['low']:.4g}, highest {last['high']:.4g})",
    }
