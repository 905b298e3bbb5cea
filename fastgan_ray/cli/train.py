"""The command `train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.terminal import console, print_line, progress
from fastgan_ray.errors import InterruptedRunError, UserError

if TYPE_CHECKING:
    from fastgan_ray.config.run_config import RunConfig

STOPPING = "Stopping: saving a checkpoint after this step. Press Ctrl-C again to quit immediately."


def train(
    config: Annotated[
        Path | None,
        typer.Option(
            help="Run configuration (YAML), e.g. runs/demo/best/config.yaml.",
            show_default="the published FastGAN at 256 px",
        ),
    ] = None,
    data: opt.Data = None,
    out: Annotated[Path, typer.Option(help="Folder for checkpoints and sample grids.")] = Path(
        "runs/train"
    ),
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the checkpoint in --out.")
    ] = False,
    assignments: opt.Assignments = None,
    embedded: opt.Embedded = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the configuration and exit.")
    ] = False,
) -> None:
    """Train one generator."""
    from fastgan_ray.config.override import override
    from fastgan_ray.config.run_config import RunConfig
    from fastgan_ray.config.run_file import dump_run_config, load_run_config

    run = load_run_config(config) if config else RunConfig()
    run = override(run, opt.overrides(data, assignments, embedded))
    if dry_run:
        typer.echo(dump_run_config(run))
    else:
        _train(run, out, resume)


def _train(run: RunConfig, out: Path, resume: bool) -> None:
    from fastgan_ray.cli.train_reporter import TerminalReporter
    from fastgan_ray.data.remarks import remarks
    from fastgan_ray.data.source import open_source
    from fastgan_ray.latent.load import find_checkpoint
    from fastgan_ray.metrics.names import metric_name
    from fastgan_ray.metrics.weight_files import require_weights
    from fastgan_ray.train.checkpoint import interrupted
    from fastgan_ray.train.launch import train_together
    from fastgan_ray.train.loop import train as train_alone
    from fastgan_ray.train.signals import say_at_once, stopping

    require_weights(run)
    start = (interrupted(out) or find_checkpoint(out, "last")) if resume else None
    if start is None:
        _make_new_folder(out)
    for remark in remarks(
        open_source(run.data, run.train.seed, progress()), run.data, run.model.size
    ):
        print_line(f"Pictures: {remark}")
    train_by = train_together if run.resources.workers > 1 else train_alone
    with stopping(lambda stop: say_at_once(STOPPING)) as stop:
        reporter = TerminalReporter(out, run.train.total_kimg, metric_name(run.eval), console, stop)
        try:
            train_by(run, reporter, start, track=progress())
        except InterruptedRunError as error:
            raise stop.error(str(error)) from error


def _make_new_folder(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"{folder}: already exists; continue it with --resume or choose another --out"
        )
    opt.require_writable_folder(folder)
