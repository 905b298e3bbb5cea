"""The command `train`: its options, --dry-run, --resume and --help-settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.terminal import progress, progress_console
from fastgan_ray.errors import UserError

if TYPE_CHECKING:
    from fastgan_ray.config.run_config import RunConfig


def train(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]",
            help="With --resume: the folder of the training to continue. With --help-settings: a "
            "word that the printed settings must contain.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Run configuration (YAML), e.g. runs/demo/best/config.yaml.",
            show_default="the published FastGAN at 256 px; with --resume, the stored configuration",
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
            help="Continue a training with its stored configuration. --set may change only "
            "settings that do not affect the training steps, e.g. train.total_kimg.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the training in --out.")
    ] = False,
    init_from: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Initial weights: a checkpoint, the folder of a run, an exported folder or a "
            "published .pth file. Replaces the setting train.init_from. See also the settings "
            "train.init_networks, train.init_partial and train.freeze_d.",
        ),
    ] = None,
    assignments: opt.Assignments = None,
    embedded: opt.Embedded = False,
    show: Annotated[
        list[str] | None,
        typer.Option(
            help="Also print this number after each evaluation, e.g. kid, precision_k5 or loss/d. "
            "You can repeat this option. To change the metric that chooses the best checkpoint, "
            "use --set eval.metric=NAME."
        ),
    ] = None,
    wandb: opt.Wandb = "auto",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check the device, the initial weights and the data, print the configuration and "
            "exit.",
        ),
    ] = False,
    help_settings: Annotated[
        bool,
        typer.Option(
            "--help-settings",
            help="Print every setting with its meaning, default, range and unit, and exit. With a "
            "word, e.g. --help-settings ema, print only settings that contain the word in the name "
            "or the meaning.",
        ),
    ] = False,
) -> None:
    """Train one generator; write metrics, sample grids, checkpoints and a TensorBoard file."""
    from fastgan_ray.api.training import run_training

    if help_settings:
        _print_settings("" if folder is None else str(folder))
        return
    out = _folder(folder, out, resume)
    start = {} if init_from is None else {"train.init_from": init_from}
    given = opt.settings(assignments).get("train.init_from", init_from)
    if init_from is not None and given != init_from:
        raise UserError(
            f"train.init_from: is set twice, to {init_from} and to {given}; leave one of them out"
        )
    if dry_run:
        overrides = start | opt.overrides(data, assignments, embedded)
        _print_plan(config, out, resume, overwrite, overrides)
        return
    run_training(
        config,
        data,
        out=out,
        settings=start | opt.settings(assignments),
        embedded=embedded,
        resume=resume,
        overwrite=overwrite,
        show=show or (),
        wandb=wandb,
    )


def _print_plan(
    config: Path | None, out: Path, resume: bool, overwrite: bool, overrides: dict[str, Any]
) -> None:
    """Check the device, the initial weights and the data; print the configuration (--dry-run)."""
    from fastgan_ray.api.training import find_start, training_config
    from fastgan_ray.config.run_file import dump_run_config

    run = training_config(config, find_start(out, resume, overwrite), overrides)
    _check(run)
    typer.echo(dump_run_config(run))


def _print_settings(word: str) -> None:
    from fastgan_ray.config.reference import as_lines, reference

    settings = reference(word)
    if not settings:
        raise UserError(
            f"--help-settings: no setting has {word} in its name or description; try another "
            "word, or no word to print all settings"
        )
    for setting in settings:
        for line in as_lines(setting):
            typer.echo(line)


def _check(run: RunConfig) -> None:
    """Check the device, the initial weights and the data; print notes about them on stderr.

    Raise UserError if the device does not exist, or if the weights or the data cannot be used.
    """
    from fastgan_ray.cli.plan import require_usable_data
    from fastgan_ray.search.cost.plan import run_facts
    from fastgan_ray.train.device import require_device
    from fastgan_ray.train.initial_weights import check_start, describe

    require_device(run)
    if record := check_start(run):
        progress_console.print(describe(record), highlight=False, soft_wrap=True, markup=False)
    facts = run_facts(run, "", progress())
    require_usable_data(facts)
    data = facts["data"][0]
    lines = [f"data: {data['note']}"] if data["note"] else []
    for line in [*lines, *(f"Pictures: {remark}" for remark in data["remarks"])]:
        progress_console.print(line, highlight=False, soft_wrap=True, markup=False)


def _folder(folder: Path | None, out: Path | None, resume: bool) -> Path:
    from fastgan_ray.api.training import OUT

    if folder is not None and not resume:
        raise UserError(
            f"FOLDER ({folder}): can be given only with --resume; give the folder of a new "
            "training with --out"
        )
    if folder is not None and out not in (None, folder):
        raise UserError(
            "--out: must be the same folder as FOLDER, because a resumed training continues in its "
            f"own folder (got {out} and {folder})"
        )
    return folder or out or OUT
