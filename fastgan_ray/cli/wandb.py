"""The command that builds a report at Weights & Biases: `wandb-report`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer


def wandb_report(
    run: Annotated[Path, typer.Argument(help="Folder of a search or an ablation, as runs/demo.")],
    project: Annotated[
        str | None, typer.Option(help="W&B project of its runs; default: WANDB_PROJECT or ours.")
    ] = None,
    entity: Annotated[
        str | None, typer.Option(help="W&B user or team that owns it; default: the login's.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be in it as JSON, and stop.")
    ] = False,
) -> None:
    """Build a report at W&B to choose by: settings that matter, curves, pictures, leaderboard."""
    from fastgan_ray.tune.wandb.report import outline, save
    from fastgan_ray.tune.wandb.session import project_name

    told = outline(run, project or project_name(os.environ))
    if dry_run:
        typer.echo(json.dumps(told, indent=1))
        return
    typer.echo(save(told, entity))
