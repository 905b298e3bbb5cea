"""The command `evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fastgan_ray.cli.options import (
    AsJson,
    Assignments,
    Data,
    Embedded,
    overrides,
)
from fastgan_ray.cli.terminal import console, progress_console
from fastgan_ray.progress import track_on


def evaluate(
    checkpoints: Annotated[
        list[Path], typer.Argument(help="Checkpoints, run folders or published .pth files.")
    ],
    data: Data = None,
    assign: Assignments = None,
    embedded: Embedded = False,
    by: Annotated[
        str | None,
        typer.Option(help="Metric that ranks; default: that of their searches, else Frechet's."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure generators against a data set, the best first; several only by one protocol."""
    from fastgan_ray.latent.measure import rank
    from fastgan_ray.metrics.names import format_with_error, without_errors
    from fastgan_ray.report.data.run_folder import searched_metric

    searched = {path: searched_metric(path) for path in checkpoints}
    track = track_on(progress_console)
    results = rank(searched, overrides(data, assign, embedded), by, track)
    if as_json:
        typer.echo(json.dumps(results, indent=1))
        return
    table = Table()
    table.add_column("metric", overflow="fold")
    for result in results:
        table.add_column(result["checkpoint"], justify="right", overflow="fold")
    for key in without_errors(results[0]["metrics"]):
        table.add_row(key, *(format_with_error(result["metrics"], key) for result in results))
    console.print(table)
    console.print("  ± is the standard error over generated and real pictures", highlight=False)
    if len(results) > 1:
        console.print(f"  the best first, by {results[0]['by']}", highlight=False)
    for key, value in results[0]["protocol"].items():
        console.print(f"  {key}: {value}", highlight=False)
