"""Build the table that compares searches, arms, trainings and trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.config.feature_networks import MARK
from fastgan_ray.metrics.names import format_with_error
from fastgan_ray.report.data.comparison import Entry
from fastgan_ray.report.tables.table import Table
from fastgan_ray.report.tables.votes import interval_text
from fastgan_ray.report.text import parameter_count, state_text


def comparison_table(entries: Sequence[Entry]) -> Table:
    """Return a table with a column for each entry of `compare` and a row for each quantity.

    A row is left out if no entry has a value.
    """
    metric = entries[0]["metric"]
    columns = [
        {
            "what": entry["what"],
            metric: format_with_error(entry["value"], entry["error"])
            + (f" {MARK}" if entry["protocol"].get("shared_data") else ""),
            "± of": entry["error_of"],
            "trial": _text(entry["trial"]),
            "state": state_text(entry["state"]),
            "published default": ""
            if entry["default"] is None
            else format_with_error(entry["default"], entry["default_error"]),
            "memorised": _text(entry["memorised"], "{:.1%}"),
            "parameters": parameter_count(entry["params_g"]) if entry["params_g"] else "",
            "GFLOP/image": _text(entry["gflop_g"], "{:.3g}"),
            "images/s": _text(entry["images_per_second"], "{:.1f}"),
            "kimg": _text(entry["kimg"], "{:.4g}"),
            "hours of training": _text(entry["hours"], "{:.3g}"),
            "trials": _text(entry["trials"]),
            "blind votes": "; ".join(map(_votes, entry["votes"])),
        }
        for entry in entries
    ]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    return Table(["", *(entry["name"] for entry in entries)], [row for row in rows if any(row[1:])])


def _text(value: float | str | None, form: str = "{}") -> str:
    return "" if value is None else form.format(value)


def _votes(row: Mapping[str, Any]) -> str:
    return f"won {row['won']:g} of {row['of']}, strength {interval_text(row)}"
