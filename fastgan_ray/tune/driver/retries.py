"""How often a trial's process may die, and why it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial

from fastgan_ray.tune.driver.state import OUT_OF_MEMORY, reason_of
from fastgan_ray.tune.ray.callback import TrialCallback
from fastgan_ray.tune.ray.compat import set_failure_count
from fastgan_ray.tune.trial.folder import reached

# How often a trial whose process died starts again without having come any further.
MAX_DEATHS = 4


class RetryCounter(TrialCallback):
    """Has Ray forget the deaths that came before progress, or before a resume: a cluster of spot
    machines kills a long trial many times, and only one that cannot get on is given up."""

    def __init__(self, trials: Path) -> None:
        self._trials = trials
        self._reached: dict[str, float] = {}
        self._started: dict[str, Trial] = {}

    def ran_out_of_memory(self, trial_id: str) -> bool:
        """Whether Ray ended the trial's process because its machine was low on memory."""
        trial = self._started.get(trial_id)
        return trial is not None and reason_of(trial, {}).startswith(OUT_OF_MEMORY)

    def trial_started(self, trial: Trial) -> None:
        """Take in a trial's start, its first in this session or one after a death."""
        self._started[trial.trial_id] = trial
        if trial.trial_id not in self._reached:
            self._reached[trial.trial_id] = 0.0
            set_failure_count(trial, 0)

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Take in a row: if it is no repeated one, the trial has got on."""
        self._take_in(trial, result["kimg"], 0)

    def trial_restarts(self, trial: Trial) -> None:
        """Take in a death, maybe after a checkpoint between two rows."""
        self._take_in(trial, reached(self._trials / trial.trial_id), 1)

    def _take_in(self, trial: Trial, kimg: float, deaths: int) -> None:
        if kimg > self._reached.get(trial.trial_id, 0.0):
            self._reached[trial.trial_id] = kimg
            set_failure_count(trial, deaths)
