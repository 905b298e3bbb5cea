"""Ray's callback with short methods: what happened to a trial, and nothing else."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial


class TrialCallback(Callback):
    """Hands each event of a trial to a method that takes the trial alone."""

    def trial_started(self, trial: Trial) -> None:
        """Called when a trial's process starts, also after a resume or a death."""

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Called with each result, before the scheduler and `trial.last_result` have it."""

    def trial_restarts(self, trial: Trial) -> None:
        """Called when a trial's process has died and is about to start again."""

    def trial_ended(self, trial: Trial) -> None:
        """Called when a trial has ended by itself, or the scheduler has stopped it."""

    def trial_failed(self, trial: Trial) -> None:
        """Called when a trial's process has died too often."""

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Ray's name for `trial_started`."""
        self.trial_started(trial)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: object,
    ) -> None:
        """Ray's name for `trial_reported`."""
        self.trial_reported(trial, result)

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Ray's name for `trial_restarts`."""
        self.trial_restarts(trial)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Ray's name for `trial_ended`."""
        self.trial_ended(trial)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Ray's name for `trial_failed`."""
        self.trial_failed(trial)
