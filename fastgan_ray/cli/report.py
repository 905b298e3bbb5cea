"""The commands that show what runs have found: `report` and `compare`."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastgan_ray.cli.options import AsJson
from fastgan_ray.errors import UserError


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a search or an ablation, as runs/demo.")],
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    out: Annotated[Path | None, typer.Option(help="File; default: RUN/report.html.")] = None,
) -> None:
    """Write the report on a run, one HTML file that needs nothing else; it may still be running."""
    from fastgan_ray.tune.driver.reports import write_report

    try:
        path = write_report(run, out)
    except OSError as error:
        where = error.filename or out or run
        raise UserError(f"{where}: cannot be read or written ({error.strerror})") from error
    typer.echo(path)
    if show and not webbrowser.open(path.resolve().as_uri()):
        raise UserError(f"--open: there is no browser here; open {path} on a machine that has one")


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of searches, ablations or trials.", metavar="RUN")
    ],
    as_json: AsJson = False,
) -> None:
    """Set searches, arms and trials side by side, if they were measured by one protocol."""
    from fastgan_ray.report.data.comparison import compare as compare_runs
    from fastgan_ray.report.tables.comparison import comparison_table

    entries = compare_runs(runs)
    if as_json:
        typer.echo(json.dumps(entries, indent=1))
        return
    headings, rows = comparison_table(entries)
    table = Table()
    for heading in headings:
        table.add_column(Text(heading), justify="right" if heading else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
