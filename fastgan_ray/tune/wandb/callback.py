"""Log one W&B run for each trial, in the process that runs the search.

The W&B run is complete on disk, however the trial ends. If the trials themselves logged to W&B, the
runs of stopped trials would be lost, because a stopped trial has less than a second to finish.
Ray's own WandbLoggerCallback also logs outside the trials. But it starts a process for each trial,
and it waits half an hour for a server that does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune.experiment import Trial

from fastgan_ray.report.data.rows import TRAINING, read_rows
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.tune.driver.records import end_reason
from fastgan_ray.tune.driver.state import BAD_ENDS, point_of, reason_of, run_of, state_word
from fastgan_ray.tune.ray.callback import TrialCallback
from fastgan_ray.tune.ray.compat import RESULT_KEYS
from fastgan_ray.tune.trial.folder import stop_reason
from fastgan_ray.tune.wandb.rows import PICTURES, Known, caption, log_row, summary, update
from fastgan_ray.tune.wandb.session import Session, close, log_with_numbers
from fastgan_ray.tune.wandb.trial_run import config_of, tags_of, title_of

if TYPE_CHECKING:
    import wandb


class WandbLog(TrialCallback):
    """A callback that logs each trial's configuration, curves, pictures and outcome to W&B.

    `default` has the parameter values of the published default, or the baseline arm of an ablation.
    The configuration is logged as nested dicts, because W&B does not find keys with dots. W&B shows
    these dicts with flat names such as train.lr_g.
    """

    def __init__(
        self, session: Session, metric: Metric, default: Mapping[str, Any] | None = None
    ) -> None:
        self.session = session
        self.metric = metric
        self._default = default or {}  # the values that make a trial the default
        self._runs: dict[str, wandb.Run] = {}
        self._known: dict[str, Known] = {}

    def trial_started(self, trial: Trial) -> None:
        """Open the W&B run of a trial, unless it is already open."""
        self.session.attempt(self._open, trial)

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Log an evaluation of a trial to the trial's W&B run."""
        known = self._known.get(trial.trial_id, {})
        self._known[trial.trial_id] = update(known, result, self.metric)
        self.session.attempt(self._log, trial, result)

    def trial_ended(self, trial: Trial) -> None:
        """Finish the W&B run of a trial that has finished or was stopped."""
        self.session.attempt(self._finish, trial, "TERMINATED")

    def trial_failed(self, trial: Trial) -> None:
        """Finish the W&B run of a trial whose process died too often."""
        self.session.attempt(self._finish, trial, "ERROR")

    def on_experiment_end(self, trials: list[Trial], **info: object) -> None:
        """Finish the W&B runs that are still open, because their trials were interrupted."""
        for trial in trials:
            self.session.attempt(self._finish, trial, trial.status)

    def _open(self, trial: Trial) -> wandb.Run:
        if trial.trial_id not in self._runs:
            point = point_of(trial)
            self._runs[trial.trial_id] = self.session.open(
                trial.trial_id,
                self.session.trial_job,
                title_of(trial.trial_id, point, self._default),
                config_of(run_of(trial), point),
                tags_of(point, self._default, "running"),
            )
        return self._runs[trial.trial_id]

    def _log(self, trial: Trial, result: Mapping[str, Any]) -> None:
        run, row, images_shown = (
            self._open(trial),
            log_row(result, RESULT_KEYS),
            round(1000 * result["kimg"]),
        )
        if images_shown <= run.step:
            return  # this row was logged before; a resumed trial reports old rows once more
        for key in PICTURES:
            picture = result.get(key)
            if picture and (path := Path(trial.path or "", picture)).is_file():
                import wandb

                row[key] = wandb.Image(str(path), caption=caption(result, self.metric.name))
        numbers = read_rows(self.session.folder / "trials" / trial.trial_id, TRAINING)
        log_with_numbers(run, row, images_shown, numbers)

    def _finish(self, trial: Trial, status: str) -> None:
        stored = trial.last_result if trial.has_reported_at_least_once else {}
        known = {**stored, **self._known.pop(trial.trial_id, {})}
        run = self._runs.pop(trial.trial_id, None)
        if run is None:
            return
        known["reason"] = reason_of(trial, known)
        state = state_word(status, known, run_of(trial)["train"]["total_kimg"])
        if not known["reason"]:
            stop = stop_reason(self.session.folder / "trials" / trial.trial_id)
            known["reason"] = end_reason(state, known, trial.config, stop)
        run.tags = tags_of(point_of(trial), self._default, state)
        run.summary.update(summary(state, known, self.metric.name))
        close(run, 1 if state in BAD_ENDS else 0)
