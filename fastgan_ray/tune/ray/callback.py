"""Define a base class for callbacks of Ray Tune, with simpler arguments than Ray's base class."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial


class TrialCallback(Callback):
    """A callback with one method for each event of a trial. Subclasses override these methods."""

    def trial_started(self, trial: Trial) -> None:
        """Handle the start of a trial's process, including every restart."""

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Handle a new result of a trial.

        Ray calls this method first. Then Ray passes `result` to the scheduler, and stores it in
        `trial.last_result`.
        """

    def trial_restarts(self, trial: Trial) -> None:
        """Handle the death of a trial's process, if Ray will start the trial again."""

    def trial_ended(self, trial: Trial) -> None:
        """Handle the end of a trial that has finished or that the scheduler has stopped."""

    def trial_failed(self, trial: Trial) -> None:
        """Handle the death of a trial's process, if Ray will not start the trial again."""

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Call `trial_started` when Ray reports that a trial has started."""
        self.trial_started(trial)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: object,
    ) -> None:
        """Call `trial_reported` when Ray has received a result."""
        self.trial_reported(trial, result)

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Call `trial_restarts` when Ray will start a trial again."""
        self.trial_restarts(trial)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Call `trial_ended` when Ray reports that a trial has ended."""
        self.trial_ended(trial)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Call `trial_failed` when Ray reports that a trial has failed."""
        self.trial_failed(trial)
