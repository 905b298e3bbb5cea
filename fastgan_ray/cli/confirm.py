"""The command `confirm`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastgan_ray.cli.options import (
    Address,
    MaxConcurrent,
    Wandb,
)


def confirm(
    run: Annotated[Path, typer.Argument(help="Folder of a search that has ended, as runs/demo.")],
    top: Annotated[
        int | None, typer.Option(min=1, max=20, help="How many of the best trials; default: 2.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=2, max=100, help="Fresh seeds for each; default: 3.")
    ] = None,
    max_concurrent: MaxConcurrent = None,
    wandb: Wandb = "auto",
    address: Address = None,
) -> None:
    """Train a search's best trials and the published default anew: does the winner hold up?

    What has been trained already is kept: the command goes on with it, or adds trials and seeds.
    """
    from fastgan_ray.tune.experiment import TuneOptions
    from fastgan_ray.tune.search import confirm_run

    options = TuneOptions(max_concurrent=max_concurrent, wandb=wandb, address=address)
    confirm_run(run.expanduser().resolve(), top, seeds, options)
