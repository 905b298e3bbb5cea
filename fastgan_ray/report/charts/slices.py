"""Compute slice charts: the metric of each trial against one searched parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastgan_ray.counting import counted
from fastgan_ray.report.charts.axis import all_numbers, category, fit, value_ticks
from fastgan_ray.report.charts.layout import Chart, axis_label, trial_marks
from fastgan_ray.report.data.ranking import fully_measured, parameter_names
from fastgan_ray.report.data.run_folder import Run, Trial

ENOUGH = 10  # with fewer finished trials, chance can make a parameter look important
WIDTH, HEIGHT = 400.0, 286.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 384.0, 14.0, 208.0
LETTER_WIDTH = 7.5  # width of the widest letter
SPREAD = 7.0  # distance between the trials of a category, if there is space
Column = tuple[list[float], list[dict[str, Any]], str]  # x of each trial, ticks, axis label


def slices(run: Run) -> list[dict[str, Any]]:
    """Return {"name", "chart", "note"} for each parameter that has at least two different values.

    Trials without the value of a full evaluation are left out. The "series" of a chart has a mark
    for each trial, with "x" and "y"; the best trial is last.
    """
    valued = fully_measured(run)
    charts = []
    for name in parameter_names(run):
        trials = [trial for trial in valued if name in trial["point"]]
        if len({category(trial["point"][name]) for trial in trials}) > 1:
            text = note(trials, len(valued) - len(trials))
            charts.append({"name": name, "chart": _chart(run, name, trials), "note": text})
    return charts


def note(trials: Sequence[Trial], without: int) -> str:
    """Return a text: how many trials a slice chart shows, and whether they are too few.

    `trials` are the trials in the chart. `without` is the number of trials that have no value of
    the parameter.
    """
    finished = sum(trial["state"] == "finished" for trial in trials)
    text = f"{counted(len(trials), 'trial')}: {finished} finished"
    if others := len(trials) - finished:
        text += f", {others} not finished"
    text += "."
    if without:
        absent = counted(without, "trial")
        text += f" Not shown: {absent} without this parameter (its condition is not met)."
    if finished < ENOUGH:
        text += f" Too few for a conclusion: at least {ENOUGH} finished trials are needed."
    return text


def shortened(text: str, letters: int) -> str:
    """Shorten a text to `letters` characters (2 or more) by leaving out its middle."""
    if len(text) <= letters:
        return text
    head = letters // 2
    return f"{text[:head]}…{text[len(text) - (letters - 1 - head) :]}"


def _chart(run: Run, name: str, trials: Sequence[Trial]) -> Chart:
    marks = trial_marks(run)
    y = fit([trial["value"] for trial in trials], BOTTOM, TOP)
    values = [trial["point"][name] for trial in trials]
    column = _number_column if all_numbers(values) else _category_column
    xs, ticks, label = column(name, values)
    series = [
        marks[trial["trial_id"]] | {"x": x, "y": y.at(trial["value"])}
        for trial, x in zip(trials, xs, strict=True)
    ]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": RIGHT,
        "bottom": BOTTOM,
        "x": {"label": label, "ticks": ticks},
        "y": {"label": axis_label(y, run["metric"]["name"]), "ticks": y.ticks(4)},
        "series": series[::-1],
    }


def _number_column(name: str, values: Sequence[float]) -> Column:
    axis = fit(values, LEFT, RIGHT)
    return [axis.at(value) for value in values], value_ticks(axis, values), axis_label(axis, name)


def _category_column(name: str, values: Sequence[object]) -> Column:
    """Give each category a part of the x axis, and put the trials side by side in their part.

    Return the x coordinate of each trial, the ticks and the axis label. The texts of the ticks
    alternate between two lines, so that they do not overlap.
    """
    column = [category(value) for value in values]
    names = sorted(set(column))
    band = (RIGHT - LEFT) / len(names)
    letters = max(2, int(min(2, len(names)) * band / LETTER_WIDTH))
    middles = {text: LEFT + band * (index + 0.5) for index, text in enumerate(names)}
    xs = []
    for index, text in enumerate(column):
        count, before = column.count(text), column[:index].count(text)
        spread = min(SPREAD, 0.8 * band / count)
        xs.append(round(middles[text] + spread * (before - (count - 1) / 2), 1))
    ticks = [
        {"at": round(middle, 1), "text": shortened(text, letters), "line": index % 2}
        for index, (text, middle) in enumerate(middles.items())
    ]
    return xs, ticks, name
