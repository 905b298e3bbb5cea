"""The Pareto front of a search of several metrics, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rich.table

from fastgan_ray.report.text import count
from fastgan_ray.search.file.options import COSTS


def front_table(account: Mapping[str, Any]) -> tuple[list[str], list[list[str]]] | None:
    """Headings, and a row for each trial of the front; None of a search of one metric.

    `account` is a summary.json; None too as long as no trial has finished.
    """
    front = account.get("front") or [{}]
    names = [name for name in front[0] if name != "trial_id"]
    if len(names) < 2:
        return None
    goals = {**COSTS, account["metric"]["name"]: account["metric"]["goal"]}
    sides = {"minimize": "lower is better", "maximize": "higher is better"}
    headings = ["trial", *(f"{name} ({sides[goals[name]]})" for name in names)]
    return headings, [
        [one["trial_id"], *(_text(name, one[name]) for name in names)] for one in front
    ]


def front_on_terminal(account: Mapping[str, Any]) -> list[rich.table.Table]:
    """The table for a terminal, if there is one."""
    found = front_table(account)
    if found is None:
        return []
    headings, rows = found
    title = "Finished trials that no other one beats in every metric:"
    table = rich.table.Table(
        title=title,
        title_style="",
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return [table]


def _text(name: str, value: float) -> str:
    return count(int(value)) if name.startswith("params") else f"{value:.4g}"
