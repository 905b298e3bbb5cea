"""The command `train`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.terminal import console, print_line, progress, progress_console
from fastgan_ray.errors import InterruptedRunError, UserError

if TYPE_CHECKING:
    from fastgan_ray.config.run_config import RunConfig
    from fastgan_ray.tune.wandb.session import Mode

STOPPING = "Stopping: saving a checkpoint after this step. Press Ctrl-C again to quit immediately."


def train(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]",
            help="With --resume: the folder of the training. With --help-settings: a word that "
            "the printed settings must contain.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Run configuration (YAML), e.g. runs/demo/best/config.yaml.",
            show_default="the published FastGAN at 256 px; with --resume, that of the training",
        ),
    ] = None,
    data: opt.Data = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the new training.", show_default="runs/train"),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue a training with its own configuration. --set may change only settings "
            "on which no training step depends, e.g. train.total_kimg.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the training in --out.")
    ] = False,
    init_from: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Start from these weights: a checkpoint, the folder of a run, an exported folder "
            "or a published .pth file. Replaces train.init_from; see also train.init_networks, "
            "train.init_partial and train.freeze_d.",
        ),
    ] = None,
    assignments: opt.Assignments = None,
    embedded: opt.Embedded = False,
    show: Annotated[
        list[str] | None,
        typer.Option(
            help="Also print this value of each evaluation, e.g. kid, precision_k5 or loss/d. "
            "Can be repeated. To change the metric that chooses the best checkpoint, use --set "
            "eval.metric."
        ),
    ] = None,
    wandb: opt.Wandb = "auto",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check the device and the data, print the configuration and exit."
        ),
    ] = False,
    help_settings: Annotated[
        bool,
        typer.Option(
            "--help-settings",
            help="Print every setting with its meaning, default, range and unit, and exit. With a "
            "word, e.g. --help-settings ema, only those whose name or meaning has the word.",
        ),
    ] = False,
) -> None:
    """Train one generator; write metrics, sample grids, checkpoints and a TensorBoard file."""
    from fastgan_ray.config.override import override
    from fastgan_ray.config.run_config import RunConfig
    from fastgan_ray.config.run_file import dump_run_config, load_run_config

    if help_settings:
        _print_settings("" if folder is None else str(folder))
        return
    out = _folder(folder, out, resume, overwrite)
    start = _start(out) if resume else None
    stored = _stored_config(start) if start else RunConfig()
    fields = {} if init_from is None else {"train.init_from": init_from}
    run = override(
        load_run_config(config) if config else stored,
        fields | opt.overrides(data, assignments, embedded),
    )
    if dry_run:
        _check(run)
        typer.echo(dump_run_config(run))
        return
    if start:
        _print_changes(start, stored, run)
    _train(run, out, start, overwrite, show or [], wandb)


def _print_settings(word: str) -> None:
    from fastgan_ray.config.reference import as_lines, reference

    settings = reference(word)
    if not settings:
        raise UserError(
            f"--help-settings: no setting has {word} in its name or description; "
            "without a word, all settings are printed"
        )
    for setting in settings:
        for line in as_lines(setting):
            typer.echo(line)


def _check(run: RunConfig) -> None:
    """Raise UserError if the device does not exist or the data cannot be used.

    If no data is set, say so on standard error: the configuration may be printed without data.
    """
    from fastgan_ray.cli.plan import require_usable_data
    from fastgan_ray.search.cost.plan import run_facts
    from fastgan_ray.train.device import device_of
    from fastgan_ray.train.initial_weights import check_start, describe

    device_of(run)
    if record := check_start(run):
        progress_console.print(describe(record), highlight=False, soft_wrap=True, markup=False)
    facts = run_facts(run, "", progress())
    require_usable_data(facts)
    data = facts["data"][0]
    lines = [f"data: {data['note']}"] if data["note"] else []
    for line in [*lines, *(f"Pictures: {remark}" for remark in data["remarks"])]:
        progress_console.print(line, highlight=False, soft_wrap=True, markup=False)


def _folder(folder: Path | None, out: Path | None, resume: bool, overwrite: bool) -> Path:
    if folder is not None and not resume:
        raise UserError(
            f"{folder}: can be given only with --resume; give the folder of a new training "
            "with --out"
        )
    if folder is not None and out not in (None, folder):
        raise UserError(
            "--out: cannot be used with --resume, because a training continues in its own "
            f"folder ({folder})"
        )
    if resume and overwrite:
        raise UserError(
            "--overwrite: cannot be used with --resume: one replaces the training, the "
            "other continues it"
        )
    return folder or out or Path("runs/train")


def _start(out: Path) -> Path:
    """Return the checkpoint from which the training in a folder continues."""
    from fastgan_ray.train.checkpoint import interrupted
    from fastgan_ray.train.find_checkpoint import find_checkpoint

    if not out.exists():
        raise UserError(f"{out}: there is no training to resume; name its folder with --out")
    return interrupted(out) or find_checkpoint(out, "last")


def _stored_config(checkpoint: Path) -> RunConfig:
    from fastgan_ray.train.checkpoint import stored_config

    return stored_config(checkpoint)


def _print_changes(start: Path, stored: RunConfig, run: RunConfig) -> None:
    """Say where the training continues, which settings change, and which may change."""
    from fastgan_ray.train.checkpoint import read_metadata
    from fastgan_ray.train.resume import MAY_CHANGE, require_same_training
    from fastgan_ray.tune.trial.training import changed_settings

    require_same_training(stored, run, start)
    changes = changed_settings(stored, run)
    print_line(
        f"Continuing at {read_metadata(start)['kimg']:g} of {run.train.total_kimg:g} kimg"
        + (f", with {'; '.join(changes)}." if changes else ", with the same settings.")
        + (
            " Settings that --set may change: "
            f"{', '.join(name.rstrip('.') for name in MAY_CHANGE)}."
        )
    )


def _train(
    run: RunConfig,
    out: Path,
    start: Path | None,
    overwrite: bool,
    show: list[str],
    wandb: Mode,
) -> None:
    from fastgan_ray.cli.train_reporter import TerminalReporter
    from fastgan_ray.data.remarks import remarks
    from fastgan_ray.data.source import open_source
    from fastgan_ray.metrics.weight_files import require_weights
    from fastgan_ray.train.initial_weights import check_start, describe
    from fastgan_ray.train.signals import say_at_once, stopping
    from fastgan_ray.tune.trial.training import run_training
    from fastgan_ray.tune.wandb.session import sync_line

    if start is None and (record := check_start(run)):
        print_line(describe(record))
    require_weights(run)
    opt.require_writable_folder(out)
    for remark in remarks(
        open_source(run.data, run.train.seed, progress()), run.data, run.model.size
    ):
        print_line(f"Pictures: {remark}")
    if hint := _idle_cores(run):
        print_line(hint)
    with stopping(lambda stop: say_at_once(STOPPING)) as stop:
        reporter = TerminalReporter(out, run, show, console, stop)
        try:
            run_training(run, reporter, start, overwrite, wandb, progress())
        except InterruptedRunError as error:
            raise stop.error(str(error)) from error
    if line := reporter.closing():
        print_line(line)
    print_line(f"Results: {out}")
    print_line(f"Report:  fastgan-ray report {shlex.quote(str(out))}")
    if command := sync_line(out):
        print_line(f"To W&B:  {command}")


def _idle_cores(run: RunConfig) -> str:
    """Return a line about the cores that a training on the CPU does not use; "" if it uses all."""
    from fastgan_ray.train.device import device_of
    from fastgan_ray.train.threads import thread_count

    cores, workers = os.cpu_count() or 1, run.resources.workers
    threads = thread_count(run.resources) * workers
    if device_of(run).type != "cpu" or threads >= cores:
        return ""
    return (
        f"Training with {threads} of this machine's {cores} CPU cores (resources.cpus). "
        "With all cores it is faster, but rounding makes the results slightly "
        f"different: --set resources.cpus={cores // workers}"
    )
