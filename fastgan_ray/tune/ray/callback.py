"""A base class for callbacks of Ray Tune whose methods take only the trial (and its result)."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial


class TrialCallback(Callback):
    """A callback with one method for each event of a trial; subclasses override these methods."""

    def trial_started(self, trial: Trial) -> None:
        """Handle the start of a trial's process, including every restart."""

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Handle a result, before the scheduler and `trial.last_result` get it."""

    def trial_restarts(self, trial: Trial) -> None:
        """Handle the death of a trial's process that Ray will start again."""

    def trial_ended(self, trial: Trial) -> None:
        """Handle the end of a trial that has finished or that the scheduler has stopped."""

    def trial_failed(self, trial: Trial) -> None:
        """Handle the failure of a trial whose process has died too often."""

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Call `trial_started`; Ray calls this method."""
        self.trial_started(trial)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: object,
    ) -> None:
        """Call `trial_reported`; Ray calls this method."""
        self.trial_reported(trial, result)

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Call `trial_restarts`; Ray calls this method."""
        self.trial_restarts(trial)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Call `trial_ended`; Ray calls this method."""
        self.trial_ended(trial)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Call `trial_failed`; Ray calls this method."""
        self.trial_failed(trial)
