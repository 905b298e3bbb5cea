"""Tables of text for terminals and Markdown files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import rich.table
from rich.text import Text

# The colour of an arm's row on a terminal, by its verdict.
VERDICT_STYLES = {"better": "green", "worse": "red", "no verdict": "yellow"}


class Table(NamedTuple):
    """A table: headings, and rows with a cell for each heading. The first cell names the row."""

    headings: list[str]
    rows: list[list[str]]


def on_terminal(
    table: Table, styles: Sequence[str] = (), title: str | None = None
) -> rich.table.Table:
    """Convert a table for a terminal; `styles` has a rich style for each row."""
    drawn = rich.table.Table(
        title=title,
        title_style="",
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for index, heading in enumerate(table.headings):
        drawn.add_column(heading, justify="right" if index else "left")
    for index, row in enumerate(table.rows):
        drawn.add_row(*map(Text, row), style=styles[index] if styles else "")
    return drawn


def as_markdown(table: Table) -> str:
    """Write a table as Markdown."""
    lines = [table.headings, ["---"] * len(table.headings), *table.rows]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")
