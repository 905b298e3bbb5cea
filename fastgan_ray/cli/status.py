"""The commands `status` and `stop`: watch or stop a run of another process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.terminal import console, print_json, print_line
from fastgan_ray.errors import UserError

if TYPE_CHECKING:
    from fastgan_ray.tune.driver.status import Status

AnyRun = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="Folder of a search, an ablation or a training, e.g. runs/demo."
    ),
]
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_TO_STOP = 600.0
LINES_AROUND_ROWS = 10


def status(
    run: AnyRun,
    follow: Annotated[
        bool, typer.Option("--follow", help="Update the display until the run ends.")
    ] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Show the progress of a search, an ablation or a training, and whether it is running."""
    from fastgan_ray.tune.driver import status as state

    if as_json:
        print_json(state.as_json(state.status_of(run)))
    elif follow:
        _follow(run)
    else:
        _print(state.status_of(run))


def stop(run: AnyRun) -> None:
    """Stop a run cleanly: its trainings save their state, and --resume can continue the run. A
    second `stop` ends the run immediately.
    """
    import psutil

    from fastgan_ray.tune.driver.status import status_of
    from fastgan_ray.tune.storage.lock import find_driver, is_alive

    state, driver = status_of(run), find_driver(run)
    if driver is None:
        why = "has ended" if state.word == "ended" else "was already stopped or killed"
        print_line(f"{run}: there is nothing to stop, because the run {why}.")
    else:
        try:
            driver.terminate()
        except psutil.AccessDenied as error:
            raise UserError(
                f"{run}: cannot be stopped, because its process {driver.pid} belongs to another "
                "user"
            ) from error
        print_line(f"Stopping the run (process {driver.pid}). It saves its state before it ends.")
        deadline = time.monotonic() + SECONDS_TO_STOP
        while is_alive(driver):
            if time.monotonic() > deadline:
                raise UserError(
                    f"{run}: process {driver.pid} has not ended after {SECONDS_TO_STOP / 60:.0f} "
                    "minutes; repeat `stop` to end the process immediately"
                )
            time.sleep(SECONDS_BETWEEN_LOOKS / 10)
    _print(status_of(run))


def _follow(run: Path) -> None:
    """Show the status until the run ends.

    On a terminal, show a table. Otherwise, print a line when a trial changes.
    """
    from fastgan_ray.tune.driver.live_table_text import trial_line
    from fastgan_ray.tune.driver.status import status_of

    current = status_of(run)
    if console.is_terminal:
        with Live(_live(current), console=console) as live:
            while current.word == "running":
                time.sleep(SECONDS_BETWEEN_LOOKS)
                current = status_of(run)
                live.update(_live(current))
        return
    printed: dict[tuple[int, str], tuple[str, float]] = {}
    while True:
        for number, part in enumerate(current.parts):
            for name, row in part.state["trials"].items():
                if printed.get((number, name)) != (row["state"], row["kimg"]):
                    printed[number, name] = row["state"], row["kimg"]
                    print_line(trial_line(part.state, name, part.now))
        if current.word != "running":
            break
        time.sleep(SECONDS_BETWEEN_LOOKS)
        current = status_of(run)
    _print(current)


def _print(status: Status) -> None:
    for part in _parts(status):
        if isinstance(part, str):
            print_line(part)
        else:
            console.print(part)


def _live(status: Status) -> Group:
    return Group(*(Text(part) if isinstance(part, str) else part for part in _parts(status)))


def _parts(status: Status) -> list[str | Table]:
    """Convert a status to the lines and tables to print."""
    from fastgan_ray.tune.driver.live_table_text import render

    word = {
        "running": f"running in process {status.pid}",
        "ended": "ended",
        "interrupted": (
            "stopped before the end; to continue the run, repeat its command with --resume"
        ),
    }[status.word]
    rows = max(1, console.height - LINES_AROUND_ROWS) if console.is_terminal else None
    tables = [render(part.state, part.now, rows) for part in status.parts]
    return [f"{status.name}: {word}", *tables, *([status.verdict] if status.verdict else [])]
