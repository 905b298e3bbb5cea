"""Log a single training (not a trial of a search) as a W&B run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.metrics.names import run_metric
from fastgan_ray.report.data.rows import TRAINING, read_rows
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.tune.wandb.rows import PICTURES, Known, caption, log_row, summary, update
from fastgan_ray.tune.wandb.session import Session, close, log_with_numbers
from fastgan_ray.tune.wandb.trial_run import config_of

if TYPE_CHECKING:
    import wandb

JOB = "training"  # the job type of the W&B run, and the last part of its id


class TrainingLog:
    """Logs a training's configuration, curves, pictures and outcome to W&B.

    The W&B run is opened at the first evaluation, so a training that cannot start has no W&B run.
    Failures of W&B never stop the training.
    """

    def __init__(self, session: Session, config: RunConfig) -> None:
        self._session = session
        self._config = config
        name, goal = run_metric(config.eval)
        self._metric = Metric(name=name, goal=goal)
        self._known: Known = {}
        self._run: wandb.Run | None = None

    def add(self, row: Mapping[str, Any]) -> None:
        """Log an evaluation, unless the W&B run already has this evaluation.

        `row` has the numbers of the evaluation.
        """
        self._known = update(self._known, row, self._metric)
        self._session.attempt(self._add, row)

    def finish(self, outcome: str, reason: str) -> None:
        """Log the training's outcome and the reason, and finish the W&B run, if it is open."""
        self._session.attempt(self._finish, outcome, reason)

    def _open(self) -> wandb.Run:
        if self._run is None:
            title = self._session.group
            config = config_of(self._config.model_dump(), {})
            self._run = self._session.open(JOB, JOB, title, config)
        return self._run

    def _add(self, row: Mapping[str, Any]) -> None:
        run, values, images_shown = self._open(), log_row(row), round(1000 * row["kimg"])
        if images_shown <= run.step:
            return
        for key in PICTURES:
            if row.get(key) and (path := self._session.folder / key_path(row[key])).is_file():
                import wandb

                values[key] = wandb.Image(str(path), caption=caption(row, self._metric.name))
        log_with_numbers(run, values, images_shown, read_rows(self._session.folder, TRAINING))

    def _finish(self, outcome: str, reason: str) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        known = {**self._known, "reason": reason}
        run.summary.update(summary(outcome, known, self._metric.name))
        close(run, 1 if outcome == "failed" else 0)


def key_path(picture: str) -> Path:
    """Return the path of a picture relative to the training's folder.

    `picture` is the path in the row of an evaluation. The training's folder may have been moved
    since then.
    """
    return Path(*Path(picture).parts[-2:])
