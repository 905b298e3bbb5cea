"""The command `ablate` and its options."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.detach import detach as start_in_background
from fastgan_ray.cli.detach import is_detached
from fastgan_ray.cli.seeds import parse_training_seeds
from fastgan_ray.cli.terminal import console, progress


def ablate(
    context: typer.Context,
    config: Annotated[
        Path,
        typer.Option(
            help="Ablation file (YAML), or the name of a preset, e.g. ablation_demo. "
            "`fastgan-ray presets` lists the presets."
        ),
    ],
    data: opt.Data = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Seeds of the trainings. 0-2,7 means seeds 0, 1, 2 and 7. 3 means only seed 3.",
            show_default="the seeds in the ablation file",
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
    detach: opt.Detach = False,
    dry_run: opt.DryRun = False,
) -> None:
    """Run an ablation: train every arm with every seed, and compare each arm with the baseline."""
    from fastgan_ray.api.ablation import read_ablation
    from fastgan_ray.cli.plan import print_plan
    from fastgan_ray.search.ablation import arm_config
    from fastgan_ray.search.cost.plan import ablation_facts

    chosen_seeds = parse_training_seeds(seeds) if seeds is not None else None
    spec = read_ablation(config, opt.overrides(data, assignments, embedded), chosen_seeds)
    if dry_run:
        configs = [arm_config(spec, arm) for arm in spec.arms]
        print_plan(configs, address, partial(ablation_facts, spec, progress(), None), console)
        return
    if detach:
        start_in_background(context.obj)
        return
    from fastgan_ray.api.options import tune_options
    from fastgan_ray.tune.ablation import run_ablation

    options = tune_options(
        runs,
        name=name,
        resume=resume,
        max_concurrent=max_concurrent,
        wandb=wandb,
        address=address,
        disk_gb=disk_gb,
        detached=is_detached(),
    )
    run_ablation(spec, options)
