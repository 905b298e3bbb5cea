"""The command `report` and its options."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from fastgan_ray.config.paths import require_writable
from fastgan_ray.errors import UserError


def report(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Folder of a search, an ablation or a training, e.g. runs/demo."
        ),
    ],
    show: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="RUN/report.html")
    ] = None,
) -> None:
    """Write a report of a search, an ablation or a training as one HTML page.

    The page needs no other file. The run may still be in progress.
    """
    from fastgan_ray.tune.driver.reports import write_report

    if out is not None:
        require_writable(out)
    try:
        path = write_report(run, out)
    except OSError as error:
        where = error.filename or out or run
        raise UserError(f"{where}: cannot be read or written ({error.strerror})") from error
    typer.echo(path)
    if show and not webbrowser.open(path.resolve().as_uri()):
        raise UserError(f"--open: no browser found; open {path} on a machine that has one")
