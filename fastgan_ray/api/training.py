"""Run one training from Python, as the command `train` does; find its settings and its start."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastgan_ray.api.settings import changes, plain
from fastgan_ray.config.override import override
from fastgan_ray.config.paths import require_writable_folder
from fastgan_ray.config.run_config import RunConfig, flatten
from fastgan_ray.config.run_file import load_run_config
from fastgan_ray.counting import counted
from fastgan_ray.errors import InterruptedRunError, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from fastgan_ray.api.pictures import Data
    from fastgan_ray.api.results import Results
    from fastgan_ray.tune.wandb.session import Mode

OUT = Path("runs/train")
STOPPING = "Stopping: saving a checkpoint after this step. Press Ctrl-C again to quit immediately."

Config = str | Path | RunConfig | Mapping[str, Any]


def run_training(
    config: Config | None = None,
    data: Data | None = None,
    *,
    out: str | Path = OUT,
    settings: Mapping[str, Any] | None = None,
    embedded: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    show: Sequence[str] = (),
    wandb: Mode = "auto",
    quiet: bool = False,
) -> Results:
    """Train one generator; write its metrics, sample grids and checkpoints to the folder `out`.

    `config` is a run configuration: a YAML file, the `config` of a `Best`, or a mapping of
    settings. If `config` is None, a new training uses the published FastGAN at 256 px, and a
    resumed training keeps its configuration. `data` and `settings` have the same meaning as in
    `run_search`. If `quiet` is True, nothing is printed. All other arguments have the names and
    meanings of the options of `fastgan-ray train`.

    Raise UserError before the first step if an argument is not valid, DivergedError if a loss or
    another number is not finite, and InterruptedRunError after Ctrl-C. After Ctrl-C, a call with
    `resume=True` continues the training.
    """
    from fastgan_ray.api.results import read_results
    from fastgan_ray.tune.driver.terminal import make_console
    from fastgan_ray.tune.wandb.session import require_mode

    require_mode(wandb)
    out = Path(out)
    start = find_start(out, resume, overwrite)
    run = training_config(config, start, changes(data, settings, embedded))
    console = make_console(quiet)
    if start:
        _print_line(console, _describe_start(start, run))
    _train(run, out, start, overwrite, show, wandb, console)
    return read_results(out)


def find_start(out: Path, resume: bool, overwrite: bool) -> Path | None:
    """Return the checkpoint from which the training in `out` continues, if `resume` is True.

    Otherwise, return None. If the training was killed before it recorded the evaluation of its
    newest checkpoint, return the checkpoint before it, so that this evaluation is made again. Raise
    UserError if `out` has no training to resume, or if `resume` and `overwrite` are both True.
    """
    from fastgan_ray.train.checkpoint import interrupted
    from fastgan_ray.train.find_checkpoint import find_checkpoint
    from fastgan_ray.tune.trial.folder import resume_point

    if not resume:
        return None
    if overwrite:
        raise UserError(
            "--overwrite: cannot be used with --resume, because --overwrite replaces the training "
            "and --resume continues it"
        )
    if not out.exists():
        raise UserError(
            f"{out}: there is no training to resume; give the folder of the training with --out"
        )
    others = (("search.yaml", "a search", "tune"), ("ablation.yaml", "an ablation", "ablate"))
    for file, kind, command in others:
        if (out / file).is_file():
            raise UserError(
                f"{out}: is the folder of {kind}, which `{command} --resume` continues; with "
                "--out, name the folder of a training"
            )
    return interrupted(out) or resume_point(out)[1] or find_checkpoint(out, "last")


def training_config(
    config: Config | None, start: Path | None, overrides: Mapping[str, Any]
) -> RunConfig:
    """Return the configuration of a training: `config`, changed by `overrides` {dotted key: value}.

    If `config` is None, use the configuration of the checkpoint `start`. If `start` is also None,
    use the published default. Raise UserError if the result is not valid.
    """
    if isinstance(config, str | Path):
        return override(load_run_config(config), overrides)
    if isinstance(config, Mapping):
        return override(RunConfig(), {**flatten(plain(config)), **overrides})
    return override(config or _stored(start), overrides)


def _stored(start: Path | None) -> RunConfig:
    from fastgan_ray.train.checkpoint import stored_config

    return stored_config(start) if start else RunConfig()


def _describe_start(start: Path, run: RunConfig) -> str:
    """Return a line for the user about a training that continues at the checkpoint `start`.

    The line has the kimg of `start`, the settings of `run` that differ from the settings in
    `start`, and the names of all settings that may be changed. Raise UserError if a changed setting
    is not one of these.
    """
    from fastgan_ray.train.checkpoint import read_metadata
    from fastgan_ray.train.resume import MAY_CHANGE, MUST_STAY, require_same_training
    from fastgan_ray.tune.trial.training import changed_settings

    stored = _stored(start)
    require_same_training(stored, run, start)
    changed = changed_settings(stored, run)
    return (
        f"Continuing at {read_metadata(start)['kimg']:g} of {run.train.total_kimg:g} kimg"
        + (f", with {'; '.join(changed)}." if changed else ", with the same settings.")
        + (
            " Settings that --set may change: "
            f"{', '.join(name.rstrip('.') for name in MAY_CHANGE)} (but not {MUST_STAY})."
        )
    )


def _train(
    run: RunConfig,
    out: Path,
    start: Path | None,
    overwrite: bool,
    show: Sequence[str],
    wandb: Mode,
    console: Console,
) -> None:
    from rich.console import Console

    from fastgan_ray.api.train_reporter import TerminalReporter
    from fastgan_ray.config.feature_networks import shared_data, shared_data_note
    from fastgan_ray.data.described import describe as describe_pictures
    from fastgan_ray.data.sets import open_sets
    from fastgan_ray.metrics.weight_files import require_weights
    from fastgan_ray.progress import track_on
    from fastgan_ray.train.device import require_device
    from fastgan_ray.train.initial_weights import check_start, describe
    from fastgan_ray.train.signals import say_at_once, stopping
    from fastgan_ray.tune.trial import training
    from fastgan_ray.tune.wandb.session import sync_line

    require_device(run)
    if start is None and (record := check_start(run)):
        _print_line(console, describe(record))
    require_weights(run)
    require_writable_folder(out)
    track = track_on(Console(stderr=True, quiet=console.quiet))
    pictures = describe_pictures(open_sets(run, track).training, run.data, run.model.size)
    for remark in pictures["remarks"]:
        _print_line(console, f"Pictures: {remark}")
    _print_line(console, cores_hint(run))
    _print_line(console, shared_data_note(shared_data(run.model, run.eval.extractor)))
    with stopping(lambda stop: None if console.quiet else say_at_once(STOPPING)) as stop:
        reporter = TerminalReporter(out, run, show, console, stop)
        try:
            training.run_training(run, reporter, start, overwrite, wandb, track, [pictures])
        except InterruptedRunError as error:
            raise stop.error(str(error)) from error
    _print_line(console, reporter.closing())
    _print_line(console, f"Results: {out}")
    _print_line(console, f"Report:  fastgan-ray report {shlex.quote(str(out))}")
    if command := sync_line(out):
        _print_line(console, f"To W&B:  {command}")


def _print_line(console: Console, text: str) -> None:
    """Print a line without wrapping or markup, so that paths can be copied; skip empty text."""
    if text:
        console.print(text, highlight=False, soft_wrap=True, markup=False)


def cores_hint(run: RunConfig) -> str:
    """Return a hint if a training on the CPU uses more or fewer threads than cores; else ""."""
    from fastgan_ray.train.device import device_of
    from fastgan_ray.train.threads import thread_count

    cores, workers = os.cpu_count() or 1, run.resources.workers
    threads = thread_count(run.resources) * workers
    if device_of(run).type != "cpu" or threads == cores:
        return ""
    if threads > cores:
        return (
            f"This training uses {counted(threads, 'thread')} on {counted(cores, 'CPU core')} "
            "(setting resources.cpus), so the threads wait for each other. To make it faster, add "
            f"--set resources.cpus={max(1, cores // workers)}. Rounding then makes the results "
            "slightly different."
        )
    return (
        f"This training uses {threads} of this machine's {cores} CPU cores (setting "
        f"resources.cpus). To use all cores, add --set resources.cpus={cores // workers}. The "
        "training is then faster, but rounding makes the results slightly different."
    )
