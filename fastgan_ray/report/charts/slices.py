"""Slices: the metric of every trial over one searched parameter, a small chart for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastgan_ray.report.charts.axis import fit, numeric, value_ticks, word
from fastgan_ray.report.charts.charts import Chart
from fastgan_ray.report.data.ranking import colours, parameters, ranked, sentence
from fastgan_ray.report.data.run_folder import Run, Trial

ENOUGH = 10  # finished trials: of fewer, any parameter can seem to matter
WIDTH, HEIGHT = 400.0, 286.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 384.0, 14.0, 208.0
LETTER = 7.5  # width of one, at most
ABREAST = 7.0  # between trials of one category, as far as there is room
Column = tuple[list[float], list[dict[str, Any]], str]  # places, ticks, and a word on the axis


def slices(run: Run) -> list[dict[str, Any]]:
    """{"name", "chart", "note"} of each parameter of which trials with a metric have two values.

    The chart's series are {"id", "colour", "state", "x", "y", "text"}, the best last.
    """
    valued = [trial for trial in ranked(run) if trial["value"] is not None]
    found = []
    for name in parameters(run):
        own = [trial for trial in valued if name in trial["point"]]
        if len({word(trial["point"][name]) for trial in own}) > 1:
            chart = _chart(run, name, own)
            found.append({"name": name, "chart": chart, "note": note(own, len(valued) - len(own))})
    return found


def note(trials: Sequence[Trial], without: int) -> str:
    """How many trials a slice rests on, how many it leaves out, and whether they are enough."""
    finished = sum(trial["state"] == "finished" for trial in trials)
    parts = [f"{finished} finished"]
    if others := len(trials) - finished:
        parts.append(f"{others} not")
    text = f"{len(trials)} trials: {', '.join(parts)}."
    if without:
        text += f" {without} without this parameter (its condition did not hold) left out."
    if finished < ENOUGH:
        text += f" Too few to go by: {ENOUGH} finished ones are needed."
    return text


def shortened(text: str, letters: int) -> str:
    """A text of so many letters (2 or more) at most: of a longer one the beginning and the end."""
    if len(text) <= letters:
        return text
    head = letters // 2
    return f"{text[:head]}…{text[len(text) - (letters - 1 - head) :]}"


def _chart(run: Run, name: str, trials: Sequence[Trial]) -> Chart:
    metric, colour = run["metric"]["name"], colours(run)
    y = fit([trial["value"] for trial in trials], BOTTOM, TOP)
    values = [trial["point"][name] for trial in trials]
    places, ticks, scale = (_numbers if numeric(values) else _categories)(values)
    series = [
        {
            "id": trial["trial_id"],
            "colour": colour[trial["trial_id"]],
            "state": trial["state"],
            "x": x,
            "y": y.at(trial["value"]),
            "text": sentence(trial, metric),
        }
        for trial, x in zip(trials, places, strict=True)
    ]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": RIGHT,
        "bottom": BOTTOM,
        "x": {"label": name + scale, "ticks": ticks},
        "y": {"label": f"{metric}{', logarithmic' if y.log else ''}", "ticks": y.ticks(4)},
        "series": series[::-1],
    }


def _numbers(values: Sequence[float]) -> Column:
    axis = fit(values, LEFT, RIGHT)
    scale = ", logarithmic" if axis.log else ""
    return [axis.at(value) for value in values], value_ticks(axis, values), scale


def _categories(values: Sequence[object]) -> Column:
    """A band for each category; its trials abreast, the best to the left. Names in two lines."""
    names = sorted({word(value) for value in values})
    band = (RIGHT - LEFT) / len(names)
    letters = int(min(2, len(names)) * band / LETTER)
    given = [word(value) for value in values]
    places = []
    for number, own in enumerate(given):
        count, before = given.count(own), given[:number].count(own)
        apart = min(ABREAST, 0.8 * band / count)
        middle = LEFT + band * (names.index(own) + 0.5)
        places.append(round(middle + apart * (before - (count - 1) / 2), 1))
    ticks = [
        {
            "at": round(LEFT + band * (n + 0.5), 1),
            "text": shortened(name, max(2, letters)),
            "line": n % 2,
        }
        for n, name in enumerate(names)
    ]
    return places, ticks, ""
