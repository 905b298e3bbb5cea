"""Standard output while Ray's own output goes to a log."""

from __future__ import annotations

import sys

from rich.console import Console, RenderableType

LOG_COLUMNS = 140  # of the table where there is no terminal


def make_console(quiet: bool) -> Console:
    """Make a console that writes to this moment's standard output, or nowhere."""
    width = None if sys.stdout.isatty() else LOG_COLUMNS
    return Console(file=sys.stdout, quiet=quiet, width=width)


def say(console: Console, part: RenderableType) -> None:
    """Print a table, or a text without colours and line breaks of the console's own."""
    console.print(part, highlight=False, soft_wrap=isinstance(part, str))
