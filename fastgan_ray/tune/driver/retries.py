"""Limit how often a trial's process may die before the search gives up on the trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial

from fastgan_ray.tune.driver.state import OUT_OF_MEMORY, reason_of
from fastgan_ray.tune.ray.callback import TrialCallback
from fastgan_ray.tune.ray.compat import set_failure_count
from fastgan_ray.tune.trial.folder import resume_kimg

# The search gives up on a trial that dies more often than this without progress.
MAX_DEATHS = 4


class RetryCounter(TrialCallback):
    """Resets Ray's count of a trial's failures if the trial makes progress or the search resumes.

    On spot machines, the process of a long trial dies many times. The search gives up only on
    trials that make no progress. `trials` is the folder that contains all trials' folders.
    """

    def __init__(self, trials: Path) -> None:
        self._trials = trials
        self._last_kimg: dict[str, float] = {}
        self._started: dict[str, Trial] = {}

    def ran_out_of_memory(self, trial_id: str) -> bool:
        """Return whether Ray ended the trial's process because its machine was low on memory."""
        trial = self._started.get(trial_id)
        return trial is not None and reason_of(trial, {}).startswith(OUT_OF_MEMORY)

    def trial_started(self, trial: Trial) -> None:
        """Reset the trial's failure count when this driver starts the trial for the first time."""
        self._started[trial.trial_id] = trial
        if trial.trial_id not in self._last_kimg:
            self._last_kimg[trial.trial_id] = 0.0
            set_failure_count(trial, 0)

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Reset the trial's failure count, unless the trial only repeats an earlier report."""
        self._count(trial, result["kimg"], deaths=0)

    def trial_restarts(self, trial: Trial) -> None:
        """Set the trial's failure count to 1 if the trial made progress before its process died.

        A trial made progress if its newest checkpoint is later than its last report. Then only the
        new death counts, not the earlier deaths.
        """
        self._count(trial, resume_kimg(self._trials / trial.trial_id), deaths=1)

    def _count(self, trial: Trial, kimg: float, deaths: int) -> None:
        if kimg > self._last_kimg.get(trial.trial_id, 0.0):
            self._last_kimg[trial.trial_id] = kimg
            set_failure_count(trial, deaths)
