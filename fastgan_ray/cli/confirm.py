"""The command `confirm` and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.detach import detach as start_in_background
from fastgan_ray.cli.detach import is_detached
from fastgan_ray.cli.seeds import parse_training_seeds


def confirm(
    context: typer.Context,
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a finished search, e.g. runs/demo.")
    ],
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=20,
            help="Number of best trials to train again.",
            show_default="as in the existing confirmation, else as `check` plans it, else 2",
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="New seeds for the trainings. All of them are trained, even if the verdict is "
            "clear earlier. 1-5 means seeds 1 to 5. 3 means only seed 3.",
            show_default="at most as many as in the existing confirmation, else as `check` plans "
            "it, else 3; they are trained one after another until the verdict is clear",
        ),
    ] = None,
    max_concurrent: opt.MaxConcurrent = None,
    wandb: opt.Wandb = "auto",
    address: opt.Address = None,
    detach: opt.Detach = False,
) -> None:
    """Train the best trials of a search and the published default again, with new seeds.

    The result says whether the best trial is really better than the published default. Finished
    trainings are kept. Repeat the command to continue an interrupted confirmation. Use a larger
    --top or other --seeds to add trainings.
    """
    if detach:
        start_in_background(context.obj)
        return
    from fastgan_ray.tune.experiment import TuneOptions
    from fastgan_ray.tune.search import confirm_run

    options = TuneOptions(
        max_concurrent=max_concurrent, wandb=wandb, address=address, detached=is_detached()
    )
    chosen = parse_training_seeds(seeds) if seeds is not None else []
    confirm_run(run.expanduser().resolve(), top, chosen, options)
