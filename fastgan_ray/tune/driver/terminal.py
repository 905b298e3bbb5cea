"""Printing to standard output, while Ray's output goes to a log."""

from __future__ import annotations

import sys

from rich.console import Console, RenderableType

LOG_COLUMNS = 140  # width of the table, in characters, if there is no terminal


def make_console(quiet: bool) -> Console:
    """Make a console that writes to the current standard output, or nowhere if `quiet`."""
    width = None if sys.stdout.isatty() else LOG_COLUMNS
    return Console(file=sys.stdout, quiet=quiet, width=width)


def say(console: Console, part: RenderableType) -> None:
    """Print a table, or a text without added colours and line breaks."""
    console.print(part, highlight=False, soft_wrap=isinstance(part, str))
