"""The command `wandb-report` and its options."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.terminal import print_json


def wandb_report(
    run: opt.Run,
    project: Annotated[
        str | None,
        typer.Option(
            help="W&B project of the runs.", show_default="WANDB_PROJECT, else fastgan-ray"
        ),
    ] = None,
    entity: Annotated[
        str | None,
        typer.Option(
            help="W&B user or team of the project.", show_default="the user who is logged in"
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the content of the report as JSON and exit.")
    ] = False,
) -> None:
    """Create a Weights & Biases report of a search or an ablation.

    The report shows the most important parameters, learning curves, pictures and the leaderboard.
    """
    from fastgan_ray.tune.wandb.report import outline, save
    from fastgan_ray.tune.wandb.session import project_name

    content = outline(run, project or project_name(os.environ))
    if dry_run:
        print_json(content)
        return
    typer.echo(save(content, entity))
