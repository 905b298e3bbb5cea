"""Print the messages of a run to standard output, or to output.log in the background."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from rich.console import Console, RenderableType

LOG = "output.log"  # in a run's folder; the output of a run in the background
LOG_COLUMNS = 140  # width of the table, in characters, if there is no terminal


def make_console(quiet: bool) -> Console:
    """Return a console that writes to the current standard output.

    If `quiet` is true, the console writes nothing.
    """
    width = None if sys.stdout.isatty() else LOG_COLUMNS
    return Console(file=sys.stdout, quiet=quiet, width=width)


def say(console: Console, part: RenderableType) -> None:
    """Print a table or a text. A text is printed as it is, without colours or line breaks."""
    is_text = isinstance(part, str)  # in which "[cats]" is no markup
    console.print(part, highlight=False, soft_wrap=is_text, markup=not is_text)


def move_output(folder: Path, console: Console) -> None:
    """Send the output of this process to the file LOG in the run's folder.

    First print two commands to the old output: one shows the progress of the run, and one stops
    the run. Do nothing if the output already goes to LOG.
    """
    log, outputs = folder / LOG, (1, 2)  # standard output and standard error
    if log.is_file() and os.path.samestat(os.fstat(outputs[0]), log.stat()):
        return
    say(console, f"{folder.name} runs in the background, in process {os.getpid()}.")
    say(console, f"To see it: fastgan-ray status {shlex.quote(str(folder))} --follow")
    say(console, f"To stop it: fastgan-ray stop {shlex.quote(str(folder))}")
    sys.stdout.flush()
    with log.open("a") as file:
        for output in outputs:
            os.dup2(file.fileno(), output)
