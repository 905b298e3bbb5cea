"""Print the output of commands: lines, tables, JSON; progress goes to standard error."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastgan_ray.progress import Track, track_on

MOST_LETTERS = 10

console = Console()
progress_console = Console(stderr=True)


def progress() -> Track:
    """Return a `Track` that shows progress on stderr, so that stdout has only the results."""
    return track_on(progress_console)


def print_line(text: str) -> None:
    """Print a line without wrapping or markup, so that paths can be copied."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> None:
    """Print a table; `right` has the indices of right-aligned columns.

    The first column has names. If the terminal is wide enough, each name is on one line. All other
    texts may be wrapped.
    """
    table = Table()
    names = max((Text(row[0]).cell_len for row in rows), default=0)
    for index, heading in enumerate(headings):
        table.add_column(
            Text(heading),
            justify="right" if index in right else "left",
            overflow="fold",
            no_wrap=index == 0 and names + _least_width(rows) <= console.width,
        )
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _least_width(rows: Sequence[Sequence[str]]) -> int:
    """Return the width in characters that a table needs without its first column.

    Words of at most MOST_LETTERS characters are not split. Longer words, such as the URLs of
    licences, may be split.
    """
    columns = list(zip(*rows, strict=True))[1:]
    words = [[len(word) for cell in column for word in cell.split()] for column in columns]
    longest = [min(MOST_LETTERS, max(lengths, default=1)) for lengths in words]
    return sum(longest) + 3 * (len(columns) + 1) + 1  # and the borders


def print_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print `value` as JSON on stdout."""
    typer.echo(json.dumps(value, indent=1))
