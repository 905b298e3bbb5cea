"""Convert tables of text to Markdown, and to tables for a terminal; the colours of verdicts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import rich.table
from rich.text import Text

# The colour of an arm's row on a terminal, by its verdict.
VERDICT_STYLES = {"better": "green", "worse": "red", "no verdict": "yellow"}

# Characters that have a meaning in Markdown: emphasis, code, cells, links, headings, quotes.
SPECIAL = re.compile(
    r"([\\|`*~]|\](?=[(\[])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^[#>])", re.MULTILINE
)


class Table(NamedTuple):
    """A table of texts: `headings`, and `rows` with a cell for each heading.

    The first cell of a row names the row.
    """

    headings: list[str]
    rows: list[list[str]]


def on_terminal(
    table: Table, styles: Sequence[str] = (), title: str | None = None
) -> rich.table.Table:
    """Convert `table` to a rich table for a terminal; `styles` has a rich style for each row."""
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
    """Return `table` in Markdown."""
    headings, *rows = [[escaped(cell) for cell in line] for line in (table.headings, *table.rows)]
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """Escape a text for Markdown, so that no part of it becomes HTML, a link or emphasis."""
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text)
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    return SPECIAL.sub(r"\\\1", text)
