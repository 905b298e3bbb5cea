"""The command `evaluate`: its options and the table that it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.terminal import print_json, print_line, print_table, progress


def evaluate(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            metavar="CHECKPOINT", help="Checkpoints, run folders or published .pth files."
        ),
    ],
    data: opt.Data = None,
    assignments: opt.Assignments = None,
    embedded: opt.Embedded = False,
    by: Annotated[
        str | None,
        typer.Option(
            help="Metric for the ranking of the generators.",
            show_default="the metric that the generators' search optimised; if unknown, "
            "eval.metric of the first generator",
        ),
    ] = None,
    which: opt.Which = "best",
    as_json: opt.AsJson = False,
) -> None:
    """Measure generators on a data set, and rank them from best to worst.

    All generators must use the same evaluation protocol. Otherwise, their metrics cannot be
    compared.
    """
    from fastgan_ray.config.feature_networks import shared_data_note
    from fastgan_ray.latent.measure import rank
    from fastgan_ray.metrics.names import error_name, format_with_error, without_errors
    from fastgan_ray.report.data.run_folder import searched_metric

    metrics = {path: searched_metric(path) for path in checkpoints}
    results = rank(metrics, opt.overrides(data, assignments, embedded), by, progress(), which)
    if as_json:
        print_json(results)
        return
    names = without_errors(results[0]["metrics"])
    headings = ["metric", *(result["checkpoint"] for result in results)]
    rows = []
    for name in names:
        values = ((r["metrics"][name], r["metrics"].get(error_name(name))) for r in results)
        rows.append([name, *(format_with_error(value, error) for value, error in values)])
    print_table(headings, rows, right=range(1, len(headings)))
    print_line("  ± is the standard error due to the random choice of generated and real pictures")
    if note := shared_data_note(results[0]["protocol"].get("shared_data", "")):
        print_line(f"  {note}")
    if len(results) > 1:
        print_line(f"  ranked by {results[0]['by']}, best generator first")
    for key, value in results[0]["protocol"].items():
        print_line(f"  {key}: {value}")
