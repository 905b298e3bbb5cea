"""The command `tune` and its options."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.detach import detach as start_in_background
from fastgan_ray.cli.detach import is_detached
from fastgan_ray.cli.terminal import console, progress


def tune(
    context: typer.Context,
    config: Annotated[
        Path,
        typer.Option(
            help="Search file (YAML), or the name of a preset, e.g. demo. `fastgan-ray presets` "
            "lists the presets."
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
            "The new search first tries the best configurations of the earlier search. The sampler "
            "of the new search also learns from the earlier trials.",
        ),
    ] = None,
    assignments: opt.Assignments = None,
    embedded: opt.Embedded = False,
    detach: opt.Detach = False,
    dry_run: opt.DryRun = False,
) -> None:
    """Search for the best configuration for your pictures, with parallel trials on Ray."""
    from fastgan_ray.api.search import read_search
    from fastgan_ray.cli.plan import print_plan
    from fastgan_ray.search.cost.plan import search_facts
    from fastgan_ray.search.file.spec import sample_configs

    spec = read_search(config, opt.overrides(data, assignments, embedded))
    if dry_run:
        if source is not None:
            from fastgan_ray.search.warm_start import load_earlier_trials

            load_earlier_trials(source, spec)  # raises an error if nothing can be learned
        facts = partial(search_facts, spec, progress(), None)
        print_plan(sample_configs(spec), address, facts, console)
        return
    if detach:
        start_in_background(context.obj)
        return
    from fastgan_ray.api.options import tune_options
    from fastgan_ray.tune.search import run_search

    options = tune_options(
        runs,
        name=name,
        resume=resume,
        max_concurrent=max_concurrent,
        wandb=wandb,
        address=address,
        warm_start=source,
        disk_gb=disk_gb,
        detached=is_detached(),
    )
    run_search(spec, options)
