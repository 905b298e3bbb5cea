"""The command `ablate`."""

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


def ablate(
    config: Annotated[
        Path, typer.Option(help="Ablation file (YAML), as in search_spaces/ablation_*.yaml.")
    ],
    data: Data = None,
    seeds: Annotated[
        str | None, typer.Option(help="A count, or seeds and ranges as in 0-2,7; the file's else.")
    ] = None,
    name: Name = None,
    runs: Runs = RUNS,
    resume: Resume = False,
    max_concurrent: MaxConcurrent = None,
    disk_gb: DiskGb = None,
    wandb: Wandb = "auto",
    address: Address = None,
    assign: Assignments = None,
    embedded: Embedded = False,
    dry_run: DryRun = False,
) -> None:
    """Train every arm with every seed beside a baseline, and say which is better."""
    from fastgan_ray.cli.plan import print_facts
    from fastgan_ray.search.ablation import parse_seeds
    from fastgan_ray.search.cost.plan import ablation_facts
    from fastgan_ray.search.file.read_ablation import load_ablation

    chosen = parse_seeds(seeds) if seeds is not None else None
    spec = load_ablation(config, overrides(data, assign, embedded), chosen)
    if dry_run:
        print_facts(ablation_facts(spec, track_on(progress_console)), console)
        return
    from fastgan_ray.tune.ablation import run_ablation
    from fastgan_ray.tune.experiment import TuneOptions

    options = TuneOptions(
        *place_of(runs), name, resume, max_concurrent, wandb, address, disk_gb=disk_gb
    )
    run_ablation(spec, options)
