"""The command `tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastgan_ray.cli.options import (
    RUNS,
    Address,
    Assignments,
    Data,
    DiskGb,
    DryRun,
    Embedded,
    MaxConcurrent,
    Name,
    Resume,
    Runs,
    Wandb,
    overrides,
    place_of,
)
from fastgan_ray.cli.terminal import console, progress_console
from fastgan_ray.progress import track_on


def tune(
    config: Annotated[Path, typer.Option(help="Search file (YAML), as in search_spaces/.")],
    data: Data = None,
    name: Name = None,
    runs: Runs = RUNS,
    resume: Resume = False,
    max_concurrent: MaxConcurrent = None,
    disk_gb: DiskGb = None,
    wandb: Wandb = "auto",
    address: Address = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Folder of another search, of other pictures or a smaller size: its best points "
            "are tried first, and its trials guide the sampler at the start.",
        ),
    ] = None,
    assign: Assignments = None,
    embedded: Embedded = False,
    dry_run: DryRun = False,
) -> None:
    """Search for the best configuration on your pictures, in parallel, on Ray."""
    from fastgan_ray.cli.plan import print_facts
    from fastgan_ray.search.cost.plan import search_facts
    from fastgan_ray.search.file.read import load_search

    spec = load_search(config, overrides(data, assign, embedded))
    if dry_run:
        print_facts(search_facts(spec, track_on(progress_console)), console)
        return
    from fastgan_ray.tune.experiment import TuneOptions
    from fastgan_ray.tune.search import run_search

    options = TuneOptions(
        *place_of(runs),
        name,
        resume,
        max_concurrent,
        wandb,
        address,
        source=source,
        disk_gb=disk_gb,
    )
    run_search(spec, options)
