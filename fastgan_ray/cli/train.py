"""The command `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastgan_ray.cli.options import (
    Assignments,
    Data,
    DryRun,
    Embedded,
    overrides,
)
from fastgan_ray.cli.terminal import console, progress_console
from fastgan_ray.errors import InterruptedRunError, UserError
from fastgan_ray.progress import track_on


def train(
    config: Annotated[
        Path | None, typer.Option(help="Run configuration (YAML), as in runs/x/best/config.yaml.")
    ] = None,
    data: Data = None,
    out: Annotated[Path, typer.Option(help="Folder for checkpoints and grids.")] = Path(
        "runs/train"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from OUT's checkpoint.")] = False,
    assign: Assignments = None,
    embedded: Embedded = False,
    dry_run: DryRun = False,
) -> None:
    """Train one generator; without --config the published FastGAN at 256 px."""
    from fastgan_ray.config.override import override
    from fastgan_ray.config.run_config import RunConfig
    from fastgan_ray.config.run_file import dump_run_config, load_run_config

    run = load_run_config(config) if config else RunConfig()
    run = override(run, overrides(data, assign, embedded))
    if dry_run:
        typer.echo(dump_run_config(run))
        return
    from fastgan_ray.cli.terminal import TerminalReporter
    from fastgan_ray.latent.load import find_checkpoint
    from fastgan_ray.metrics.names import metric_name
    from fastgan_ray.metrics.weight_files import require_weights
    from fastgan_ray.train.checkpoint import interrupted
    from fastgan_ray.train.launch import train_together
    from fastgan_ray.train.loop import train as train_alone
    from fastgan_ray.train.signals import say_at_once, stopping

    require_weights(run)
    start = (interrupted(out) or find_checkpoint(out)) if resume else None
    if start is None:
        _make_new(out)
    train_by = train_together if run.resources.workers > 1 else train_alone
    with stopping(lambda stop: say_at_once(STOPPING)) as stop:
        reporter = TerminalReporter(out, run.train.total_kimg, metric_name(run.eval), console, stop)
        try:
            train_by(run, reporter, start, track=track_on(progress_console))
        except InterruptedRunError as error:
            raise stop.error(str(error)) from error


STOPPING = "Stopping once this step is saved; the same signal again ends it at once."


def _make_new(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: already there; choose another --out, or go on with --resume")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error}); choose another --out") from error
