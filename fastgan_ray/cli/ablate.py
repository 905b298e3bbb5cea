"""The command `ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.seeds import parse_training_seeds
from fastgan_ray.cli.terminal import console, progress


def ablate(
    config: Annotated[
        Path,
        typer.Option(
            help="Ablation file (YAML), or the name of a preset, e.g. ablation_demo "
            "(`fastgan-ray presets`)."
        ),
    ],
    data: opt.Data = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Seeds of the trainings, e.g. 0-2,7. A number is a seed, not a count.",
            show_default="the seeds in the file",
        ),
    ] = None,
    name: opt.Name = None,
    runs: opt.Runs = opt.RUNS,
    resume: opt.Resume = False,
    max_concurrent: opt.MaxConcurrent = None,
    disk_gb: opt.DiskGb = None,
    wandb: opt.Wandb = "auto",
    address: opt.Address = None,
    assignments: opt.Assignments = None,
    embedded: opt.Embedded = False,
    dry_run: opt.DryRun = False,
) -> None:
    """Train every arm with every seed and compare each arm with the baseline."""
    from fastgan_ray.cli.plan import print_facts
    from fastgan_ray.search.cost.plan import ablation_facts
    from fastgan_ray.search.file.presets import file_or_preset
    from fastgan_ray.search.file.read_ablation import load_ablation

    chosen_seeds = parse_training_seeds(seeds) if seeds is not None else None
    file = file_or_preset(config)
    spec = load_ablation(file, opt.overrides(data, assignments, embedded), chosen_seeds)
    if dry_run:
        print_facts(ablation_facts(spec, progress()), console)
        return
    from fastgan_ray.tune.ablation import run_ablation
    from fastgan_ray.tune.experiment import TuneOptions

    folder, storage_uri = opt.runs_folder_and_store(runs)
    options = TuneOptions(
        runs_dir=folder,
        storage_uri=storage_uri,
        name=name,
        resume=resume,
        max_concurrent=max_concurrent,
        wandb=wandb,
        address=address,
        disk_gb=disk_gb,
    )
    run_ablation(spec, options)
