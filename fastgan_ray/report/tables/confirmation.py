"""Build the table of a search's confirmation, and its explanation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rich.table

from fastgan_ray.config.feature_networks import MARK
from fastgan_ray.report.tables import table as tables
from fastgan_ray.report.tables.ablation import SEQUENTIAL, mean_over_seeds
from fastgan_ray.report.tables.table import VERDICT_STYLES, Table
from fastgan_ray.report.text import difference, number, p_value

EXPLANATION = (
    "Each configuration was trained again to its full length with the new seeds {seeds}, or with "
    "the first of them. All trainings were measured on the same latents. ± is the standard "
    "deviation over seeds. "
    f"{SEQUENTIAL} "
    "A trial's value in the search is usually too good, because the trial was chosen by this value "
    "from many trials."
)
HEADINGS = ("", "in the search", "confirmed", "seeds", "change", "p (corrected)", "verdict")


def confirmation_table(confirmation: Mapping[str, Any]) -> Table:
    """Return a table with a row for each arm; the published default is the first row.

    `confirmation` is the entry "confirmation" of summary.json.
    """
    return Table(list(HEADINGS), [_row(confirmation, arm) for arm in confirmation["arms"]])


def _row(confirmation: Mapping[str, Any], arm: dict[str, Any]) -> list[str]:
    mark = f" {MARK}" if arm.get("shared_data") else ""
    verdict = ["", "", "(baseline)"]
    if arm["name"] != confirmation["baseline"]:
        # Summaries of the first version have differences in the metric's unit instead.
        low, high = arm.get("change_interval") or (None, None)
        text = difference(arm.get("change"), low, high, " %")
        verdict = [text, p_value(arm.get("p", arm.get("p_holm"))), arm["verdict"]]
    return [
        arm["name"],
        number(arm["search_value"]),
        mean_over_seeds(arm, arm["ended_well"], arm["seeds"]) + mark,
        str(arm["seeds"]),
        *verdict,
    ]


def notes(confirmation: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each arm that was dropped or has no verdict."""
    return [f"{arm['name']}: {arm['note']}." for arm in confirmation["arms"] if arm["note"]]


def on_terminal(confirmation: Mapping[str, Any]) -> rich.table.Table:
    """Return the table for a terminal; the colour of a row depends on the arm's verdict."""
    styles = [VERDICT_STYLES.get(arm["verdict"], "") for arm in confirmation["arms"]]
    return tables.on_terminal(confirmation_table(confirmation), styles)


def explanation(confirmation: Mapping[str, Any]) -> str:
    """Return sentences about dropped arms, and sentences that explain the table."""
    confidence = confirmation["confidence"]
    seeds = ", ".join(map(str, confirmation["seeds"]))
    text = EXPLANATION.format(seeds=seeds, confidence=confidence, level=1 - confidence)
    return " ".join([*notes(confirmation), text])
