"""A search's confirmation as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rich.table
from rich.text import Text

from fastgan_ray.report import text
from fastgan_ray.report.tables import ablation as tables

READING = (
    "Each was trained anew with the seeds {seeds}, none of which the search had used, to the full "
    "length and measured on the same latents. ± is the standard deviation over seeds, brackets are "
    "{confidence:.0%} intervals (Student's t); the difference is paired by seed, and a verdict "
    "needs Holm's p-value below {level:.2g}. The search's own value is the best of many and so "
    "tends to be too good."
)


def table(confirmation: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row for each arm, the published default first."""
    headings = ["", "in the search", "confirmed", "mean's interval", "difference", "Holm p"]
    rows = []
    for arm in confirmation["arms"]:
        count, asked = arm["ended_well"], len(confirmation["seeds"])
        counted = "" if count == asked else f" ({count} of {asked})"
        low, high = arm["interval"] or (None, None)
        of = {"mean": arm["difference"], "low": None, "high": None}
        if arm["difference_interval"]:
            of["low"], of["high"] = arm["difference_interval"]
        baseline = arm["name"] == confirmation["baseline"]
        rows.append(
            [
                arm["name"],
                text.number(arm["search_value"]),
                text.mean_sd(arm["mean"], arm["sd"]) + counted,
                "-" if low is None else f"{text.number(low)} to {text.number(high)}",
                "" if baseline else text.difference(of),
                "" if baseline else text.p_value(arm["p_holm"]),
                "(baseline)" if baseline else arm["verdict"],
            ]
        )
    return [*headings, "verdict"], rows


def on_terminal(confirmation: Mapping[str, Any]) -> rich.table.Table:
    """The table, coloured by verdict."""
    headings, rows = table(confirmation)
    drawn = rich.table.Table(box=None, pad_edge=False, header_style="bold")
    for index, heading in enumerate(headings):
        drawn.add_column(heading, justify="left" if index == 0 else "right")
    for arm, row in zip(confirmation["arms"], rows, strict=True):
        drawn.add_row(*map(Text, row), style=tables.STYLES.get(arm["verdict"], ""))
    return drawn


def reading(confirmation: Mapping[str, Any]) -> str:
    """How the table is to be read."""
    confidence = confirmation["confidence"]
    seeds = ", ".join(map(str, confirmation["seeds"]))
    return READING.format(seeds=seeds, confidence=confidence, level=1 - confidence)
