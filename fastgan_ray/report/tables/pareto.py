"""Build the table of the Pareto front of a search with several metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rich.table

from fastgan_ray.report.tables.table import Table, on_terminal
from fastgan_ray.report.text import label, parameter_count
from fastgan_ray.search.file.metric import COSTS

SIDES = {"minimize": "lower is better", "maximize": "higher is better"}
TITLE = "Pareto front: finished trials that no other trial dominates"


def front_table(account: Mapping[str, Any]) -> Table | None:
    """Return a table with a row for each trial on the Pareto front.

    `account` is the content of summary.json. Return None for a search with one metric, or if no
    trial has finished yet.
    """
    front = account.get("front") or [{}]
    names = [name for name in front[0] if name != "trial_id"]
    if len(names) < 2:
        return None
    metrics = [account["metric"], *account.get("costs", [])]
    goals = {**COSTS, **{metric["name"]: metric["goal"] for metric in metrics}}
    headings = ["trial", *(f"{name} ({SIDES[goals[name]]})" for name in names)]
    default = (account.get("default") or {}).get("trial_id")
    rows = [
        [label(trial["trial_id"], default), *(_value_text(name, trial[name]) for name in names)]
        for trial in front
    ]
    return Table(headings, rows)


def front_on_terminal(account: Mapping[str, Any]) -> list[rich.table.Table]:
    """Return [the table for a terminal], or [] if `front_table` returns None."""
    table = front_table(account)
    return [on_terminal(table, title=TITLE)] if table else []


def _value_text(name: str, value: float) -> str:
    return parameter_count(int(value)) if name.startswith("params") else f"{value:.4g}"
