"""Build the leaderboard of report.html: a sortable table of a run's trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.config.feature_networks import MARK
from fastgan_ray.metrics.names import format_with_error
from fastgan_ray.report import text
from fastgan_ray.report.data.ranking import parameter_names, ranked, trial_colours, trial_label
from fastgan_ray.report.data.run_folder import Run, Trial, shared_note
from fastgan_ray.search.expected import format_chance, format_expected

LONG = ("reason", "warning")
_PREDICTED = ("expected", "chance of best")


def leaderboard(run: Run) -> dict[str, Any]:
    """Return the columns and rows of the leaderboard, best trial first.

    The result is {"columns": [{"name", "number", "long"}], "rows": [{"id", "colour", "state",
    "cells"}]}. "number" is True if a column has numbers, and "long" is True if it has long texts. A
    cell is {"text", "sort"}: the visible text, and the number or text by which the column is
    sorted.
    """
    colours, parameters, metric = trial_colours(run), parameter_names(run), run["metric"]["name"]
    predicted = _PREDICTED if any(map(format_expected, run["trials"])) else ()
    numeric = ("rank", metric, *predicted, "kimg", "parameters", "images/s", "memorised")
    marked = f"{metric} {MARK}" if shared_note(run) else metric
    headings = ("rank", "trial", marked, *predicted, "state")
    headings = (*headings, *numeric[2 + len(predicted) :], *parameters, *LONG)
    columns = [
        {"name": heading, "number": heading in (*numeric, marked), "long": heading in LONG}
        for heading in headings
    ]
    rows = [
        {
            "id": trial["trial_id"],
            "colour": colours[trial["trial_id"]],
            "state": trial["state"],
            "cells": _cells(rank, trial, parameters, bool(predicted)),
        }
        for rank, trial in enumerate(ranked(run), 1)
    ]
    return {"columns": columns, "rows": rows}


def _cells(
    rank: int, trial: Trial, parameters: Sequence[str], predicted: bool
) -> list[dict[str, Any]]:
    last = {key: value for row in trial["rows"] for key, value in row.items()}
    size, value = last.get("params_g"), trial["value"]
    state = text.state_text(trial["state"])
    measured = "" if value is None else format_with_error(value, trial["error"])
    return [
        _cell(str(rank), rank),
        _cell(trial_label(trial), trial["trial_id"]),
        _cell(f"{measured} (early)" if trial["is_early"] else measured, value),
        *(_expected_cells(trial) if predicted else ()),
        _cell(state, state),
        _number(trial["kimg"], "{:g}"),
        _cell("" if size is None else text.parameter_count(size), size),
        _number(last.get("images_per_second"), "{:.1f}"),
        _number(last.get("memorised"), "{:.1%}"),
        *(_setting(trial["point"], name) for name in parameters),
        *(_cell(trial[key], trial[key].lower()) for key in LONG),
    ]


def _expected_cells(trial: Trial) -> list[dict[str, Any]]:
    return [
        _cell(format_expected(trial), trial.get("expected")),
        _cell(format_chance(trial), trial.get("best_chance")),
    ]


def _cell(content: str, sort: float | str | None) -> dict[str, Any]:
    return {"text": content, "sort": sort}


def _number(value: float | None, form: str) -> dict[str, Any]:
    return _cell("" if value is None else form.format(value), value)


def _setting(point: Mapping[str, Any], name: str) -> dict[str, Any]:
    if name not in point:
        return _cell("", None)
    value = point[name]
    content = text.value_text(text.rounded(value))
    return _cell(content, value if text.is_number(value) else content.lower())
