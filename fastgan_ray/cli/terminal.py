"""Output of the commands: results on standard output, progress on standard error."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastgan_ray.progress import Track, track_on

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

    The first column has names: they are not divided unless they need more than half of the width.
    """
    table = Table()
    names = max((Text(row[0]).cell_len for row in rows), default=0)
    for index, heading in enumerate(headings):
        table.add_column(
            Text(heading),
            justify="right" if index in right else "left",
            overflow="fold",
            min_width=None if index else min(names, console.width // 2),
        )
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def print_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=1))
