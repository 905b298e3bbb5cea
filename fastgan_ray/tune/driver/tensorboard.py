"""Write training numbers of trials to TensorBoard; Ray itself writes their evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

from fastgan_ray.report.data.rows import TRAINING, read_rows
from fastgan_ray.tune.ray.callback import TrialCallback
from fastgan_ray.tune.trial.tensorboard import add_numbers


class TensorBoardNumbers(TrialCallback):
    """A callback that adds training numbers, such as losses, to a trial's TensorBoard files.

    `trials` is the folder that contains all trials' folders.
    """

    def __init__(self, trials: Path) -> None:
        self._trials = trials
        self._boards: dict[str, SummaryWriter] = {}
        self._steps: dict[str, float] = {}

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Add the training numbers that the trial has written since its last evaluation."""
        name = trial.trial_id
        last = self._steps.get(name, 0.0)
        rows = [row for row in read_rows(self._trials / name, TRAINING) if row["kimg"] > last]
        if not rows:
            return
        if name not in self._boards:
            self._boards[name] = SummaryWriter(str(self._trials / name))
        for row in rows:
            add_numbers(self._boards[name], row)
        self._boards[name].flush()
        self._steps[name] = rows[-1]["kimg"]

    def trial_ended(self, trial: Trial) -> None:
        """Close the TensorBoard file of a trial that has ended."""
        if board := self._boards.pop(trial.trial_id, None):
            board.close()

    def trial_failed(self, trial: Trial) -> None:
        """Close the TensorBoard file of a trial whose process died too often."""
        self.trial_ended(trial)
