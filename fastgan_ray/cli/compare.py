"""The command `compare` and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastgan_ray.cli.options import AsJson
from fastgan_ray.cli.terminal import print_json, print_line, print_table


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Folders of searches, ablations, trainings or trials."),
    ],
    as_json: AsJson = False,
) -> None:
    """Compare searches, arms of ablations, trainings and trials in a table, best first.

    All runs must use the same evaluation protocol. Otherwise, their metrics cannot be compared.
    """
    from fastgan_ray.config.feature_networks import shared_data_note
    from fastgan_ray.report.data.comparison import compare as compare_runs
    from fastgan_ray.report.data.run_folder import run_folder
    from fastgan_ray.report.data.votes import results_of_runs
    from fastgan_ray.report.tables.comparison import comparison_table
    from fastgan_ray.report.tables.votes import sentences

    entries = compare_runs(runs)
    if as_json:
        print_json(entries)
        return
    headings, rows = comparison_table(entries)
    print_table(headings, rows, right=range(1, len(headings)))
    if note := shared_data_note(entries[0]["protocol"].get("shared_data", "")):
        print_line(note)
    for result in results_of_runs(run_folder(run.resolve()) for run in runs):
        for sentence in sentences(result):
            print_line(sentence)
