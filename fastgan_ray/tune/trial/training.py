"""Run one training that is not a trial, and write its metrics.csv and other files.

The folder of a training has config.yaml, versions.json, pictures.json, metrics.jsonl and
metrics.csv (one row for each evaluation), training.jsonl (numbers between evaluations),
TensorBoard's file, wandb/, the grids and the checkpoints. `fastgan-ray report` makes report.html
from this folder.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

from fastgan_ray.config.run_config import RunConfig, flatten
from fastgan_ray.config.run_file import dump_run_config
from fastgan_ray.config.schedule import as_text
from fastgan_ray.data.described import Described, write_described
from fastgan_ray.errors import InterruptedRunError, UserError
from fastgan_ray.files import write_atomically
from fastgan_ray.progress import Track, silently
from fastgan_ray.report.data.rows import TRAINING, read_rows
from fastgan_ray.train.best import NUMBERED
from fastgan_ray.train.reporter import INTERRUPTED, Metrics, Reporter
from fastgan_ray.tune.storage.lock import only_driver
from fastgan_ray.tune.storage.versions import note_versions
from fastgan_ray.tune.trial.folder import Row, append_row, cut_log, write_rows
from fastgan_ray.tune.trial.tensorboard import add_numbers
from fastgan_ray.tune.wandb.session import Mode, Session, project_name
from fastgan_ray.tune.wandb.training import TrainingLog

CONFIG = "config.yaml"
TABLE = "metrics.csv"


def run_training(
    config: RunConfig,
    reporter: Reporter,
    resume_from: Path | None = None,
    overwrite: bool = False,
    wandb: Mode = "auto",
    track: Track = silently,
    pictures: Sequence[Described] = (),
) -> None:
    """Train in the folder of `reporter`, and record evaluations and versions in this folder.

    `reporter` also receives every evaluation. `resume_from` is a checkpoint in this folder. If
    `resume_from` is None, the folder must be new or empty. But if `overwrite` is true, the folder
    may contain a training, which is replaced. `wandb` is the W&B mode. `track` shows the progress.
    `pictures` describes the training pictures, for report.html.

    Raises the errors that `train` raises, and UserError if the folder cannot be used or another
    process trains in it.
    """
    folder = reporter.folder
    with contextlib.ExitStack() as context:
        if resume_from is None:
            context.enter_context(replacing(folder) if overwrite else new_folder(folder))
        context.enter_context(only_driver(folder))
        write_described(folder, pictures)
        _run(config, reporter, resume_from, wandb, track)


def _run(
    config: RunConfig, reporter: Reporter, resume_from: Path | None, wandb: Mode, track: Track
) -> None:
    from fastgan_ray.train.checkpoint import read_metadata
    from fastgan_ray.train.launch import train_together
    from fastgan_ray.train.loop import train

    folder = reporter.folder
    write_atomically(folder / CONFIG, dump_run_config(config))
    note_versions(folder)
    rows = valid_rows(folder, resume_from)
    write_rows(folder, rows)
    cut_log(folder, 0.0 if resume_from is None else read_metadata(resume_from)["kimg"])
    session = Session(folder, project_name(os.environ), folder.resolve().name, wandb)
    history = HistoryReporter(reporter, config, TrainingLog(session, config), rows)
    run = train_together if config.resources.workers > 1 else train
    try:
        run(config, history, resume_from, track=track)
    except BaseException as error:
        history.close("running" if isinstance(error, InterruptedRunError) else "failed", error)
        raise
    history.close("finished", None)


class HistoryReporter:
    """A reporter that writes each evaluation to the folder and passes it to another reporter.

    `reporter` is the other reporter. `log` sends the evaluations to W&B. `rows` are the evaluations
    from before a resume.
    """

    def __init__(
        self, reporter: Reporter, config: RunConfig, log: TrainingLog, rows: Sequence[Row]
    ) -> None:
        self.folder = reporter.folder
        self._reporter = reporter
        self._total_kimg = config.train.total_kimg
        self._log = log
        purge_step = round(1000 * rows[-1]["kimg"]) + 1 if rows else 0
        self._board = SummaryWriter(str(self.folder), purge_step=purge_step)
        for row in rows:
            log.add(row)  # a resumed offline run of W&B gets the earlier rows, too

    def report(self, metrics: Metrics, checkpoint: Path) -> None:
        """Write one evaluation to the folder, TensorBoard and W&B, then pass it on.

        `metrics` has the evaluation's numbers. `checkpoint` is the folder of its checkpoint.
        """
        finished = float(metrics["kimg"]) >= self._total_kimg
        row = {
            **metrics,
            "total_kimg": self._total_kimg,
            "outcome": "finished" if finished else "running",
            "reason": "",
            "checkpoint": checkpoint.name,
        }
        append_row(self.folder, row)
        write_atomically(self.folder / TABLE, as_csv(read_rows(self.folder)))
        step = round(1000 * float(metrics["kimg"]))
        for name, value in row.items():
            if isinstance(value, (int, float)):
                self._board.add_scalar(name, value, step)
        self._board.flush()
        self._log.add(row)
        self._reporter.report(metrics, checkpoint)

    def log(self, numbers: Metrics) -> None:
        """Write training numbers, such as losses; W&B gets them with the next evaluation."""
        append_row(self.folder, numbers, TRAINING)
        add_numbers(self._board, numbers)
        self._board.flush()
        self._reporter.log(numbers)

    def progress(self, kimg: float, seconds: float) -> None:
        """Pass the progress to the other reporter."""
        self._reporter.progress(kimg, seconds)

    def stopping(self) -> bool:
        """Return whether the other reporter wants the training to stop."""
        return self._reporter.stopping()

    def close(self, outcome: str, error: BaseException | None) -> None:
        """Finish the files of TensorBoard and W&B.

        `outcome` is "running", "finished" or "failed". `error` is the exception that ended the
        training, or None.
        """
        self._board.close()
        self._log.finish(outcome, "" if error is None else str(error) or type(error).__name__)


def valid_rows(folder: Path, resume_from: Path | None) -> list[Row]:
    """Return the rows (evaluations) that stay valid if a training continues from a checkpoint.

    Rows after the checkpoint are not valid, because the training makes these evaluations again. If
    `resume_from` is None, no row is valid.
    """
    if resume_from is None:
        return []
    from fastgan_ray.train.checkpoint import read_metadata

    kimg = read_metadata(resume_from)["kimg"]
    return [row for row in read_rows(folder) if row["kimg"] <= kimg]


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV text; the columns are the keys of all rows, in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def changed_settings(before: RunConfig, now: RunConfig) -> list[str]:
    """Return a text such as "model.ngf 64 -> 32" for each setting that has changed."""
    old, new = (flatten(config.model_dump()) for config in (before, now))
    return [
        f"{name} {as_text(old[name])} -> {as_text(new[name])}"
        for name in new
        if old.get(name) != new[name]
    ]


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Create the folder of a training that runs within this context.

    If the context ends with a UserError and there is no checkpoint yet, the folder is removed.
    Raises UserError if the folder already has files.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        go_on = "Continue it with --resume, replace" if _has_results(folder) else "Replace"
        raise UserError(
            f"{folder}: already exists. {go_on} it with --overwrite, or choose another folder with "
            "--out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except UserError:
        if not _has_results(folder):  # so that the corrected command can use the folder
            shutil.rmtree(folder, ignore_errors=True)
        raise


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[None]:
    """Replace the training in a folder with the training that runs within this context.

    If the new training fails before its first checkpoint, the old training is restored (if it was
    killed, at the next call). Raises UserError if the folder has files but no training, or if
    another process trains in it.
    """
    folder = folder.resolve()  # a link to the folder stays
    if Path.cwd().is_relative_to(folder):
        raise UserError(
            f"{folder}: --overwrite cannot replace the folder in which the command runs. Run it in "
            "another folder"
        )
    aside = folder.with_name(f".{folder.name}.replaced.draft")
    if aside.is_dir() and not _has_results(folder):
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    if folder.is_dir() and any(folder.iterdir()):
        if not (_has_results(folder) or (folder / CONFIG).is_file()):
            raise UserError(
                f"{folder}: --overwrite replaces only a training, but this folder has neither "
                f"{CONFIG} nor a checkpoint. Choose another folder with --out"
            )
        with only_driver(folder):
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
    try:
        with new_folder(folder):
            yield
    except BaseException:
        if aside.is_dir() and not _has_results(folder):
            shutil.rmtree(folder, ignore_errors=True)
            aside.rename(folder)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _has_results(folder: Path) -> bool:
    return any(folder.glob(NUMBERED)) or (folder / INTERRUPTED).is_dir()
