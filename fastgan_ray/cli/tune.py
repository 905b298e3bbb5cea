"""The command `tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.terminal import console, progress


def tune(
    config: Annotated[
        Path,
        typer.Option(
            help="Search file (YAML), or the name of a preset, e.g. demo (`fastgan-ray presets`)."
        ),
    ],
    data: opt.Data = None,
    name: opt.Name = None,
    runs: opt.Runs = opt.RUNS,
    resume: opt.Resume = False,
    max_concurrent: opt.MaxConcurrent = None,
    disk_gb: opt.DiskGb = None,
    wandb: opt.Wandb = "auto",
    address: opt.Address = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Folder of an earlier search, e.g. on other pictures or at a lower resolution. "
            "The new search first tries the best configurations of the earlier one, and its "
            "sampler learns from the earlier trials.",
        ),
    ] = None,
    assignments: opt.Assignments = None,
    embedded: opt.Embedded = False,
    dry_run: opt.DryRun = False,
) -> None:
    """Search for the best configuration for your pictures, with parallel trials on Ray."""
    from fastgan_ray.cli.plan import print_facts
    from fastgan_ray.search.cost.plan import search_facts
    from fastgan_ray.search.file.presets import file_or_preset
    from fastgan_ray.search.file.read import load_search

    spec = load_search(file_or_preset(config), opt.overrides(data, assignments, embedded))
    if dry_run:
        print_facts(search_facts(spec, progress()), console)
        return
    from fastgan_ray.tune.experiment import TuneOptions
    from fastgan_ray.tune.search import run_search

    folder, storage_uri = opt.runs_folder_and_store(runs)
    options = TuneOptions(
        runs_dir=folder,
        storage_uri=storage_uri,
        name=name,
        resume=resume,
        max_concurrent=max_concurrent,
        wandb=wandb,
        address=address,
        warm_start=source,
        disk_gb=disk_gb,
    )
    run_search(spec, options)
