"""Build the table of a search's confirmation, and its explanation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rich.table

from fastgan_ray.config.feature_networks import MARK
from fastgan_ray.report.tables import table as tables
from fastgan_ray.report.tables.ablation import mean_over_seeds
from fastgan_ray.report.tables.table import VERDICT_STYLES, Table
from fastgan_ray.report.text import difference, number, p_value

EXPLANATION = (
    "Each configuration was trained again to its full length with the new seeds {seeds}. All "
    "trainings were measured on the same latents. ± is the standard deviation over seeds. Brackets "
    "are {confidence:.0%} confidence intervals (Student's t). The difference is the mean of "
    "trial minus published default over pairs with the same seed. A trial is "
    "better or worse if its p-value, corrected for the number of trials (Holm), is "
    "below {level:.2g}. A trial's value in the search is usually too good, because the trial was "
    "chosen by this value from many trials."
)
HEADINGS = (
    *("", "in the search", "confirmed", "interval of mean"),
    *("difference", "p (Holm)", "verdict"),
)


def confirmation_table(confirmation: Mapping[str, Any]) -> Table:
    """Return a table with a row for each arm; the published default is the first row.

    `confirmation` is the entry "confirmation" of summary.json.
    """
    return Table(list(HEADINGS), [_row(confirmation, arm) for arm in confirmation["arms"]])


def _row(confirmation: Mapping[str, Any], arm: dict[str, Any]) -> list[str]:
    low, high = arm["interval"] or (None, None)
    mark = f" {MARK}" if arm.get("shared_data") else ""
    verdict = ["", "", "(baseline)"]
    if arm["name"] != confirmation["baseline"]:
        interval = arm["difference_interval"] or (None, None)
        text = difference(arm["difference"], *interval)
        verdict = [text, p_value(arm["p_holm"]), arm["verdict"]]
    return [
        arm["name"],
        number(arm["search_value"]),
        mean_over_seeds(arm, arm["ended_well"], len(confirmation["seeds"])) + mark,
        "-" if low is None else f"{number(low)} to {number(high)}",
        *verdict,
    ]


def on_terminal(confirmation: Mapping[str, Any]) -> rich.table.Table:
    """Return the table for a terminal; the colour of a row depends on the arm's verdict."""
    styles = [VERDICT_STYLES.get(arm["verdict"], "") for arm in confirmation["arms"]]
    return tables.on_terminal(confirmation_table(confirmation), styles)


def explanation(confirmation: Mapping[str, Any]) -> str:
    """Return sentences that explain the table of the confirmation."""
    confidence = confirmation["confidence"]
    seeds = ", ".join(map(str, confirmation["seeds"]))
    return EXPLANATION.format(seeds=seeds, confidence=confidence, level=1 - confidence)
