"""Define the interface through which the trainer reports to its caller."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

# The folder name of the checkpoint of a run that stopped between two evaluations. It is next to the
# checkpoints of evaluations; the next evaluation removes it.
INTERRUPTED = "interrupted"

Metrics = Mapping[str, float | int | str]


class Reporter(Protocol):
    """The receiver of a run's results: a Tune trial, a Ray Train worker or a terminal."""

    folder: Path
    """The existing folder to which the trainer writes checkpoints and sample grids."""

    def report(self, metrics: Metrics, checkpoint: Path) -> None:
        """Receive an evaluation: metrics and paths by name, and the path of the checkpoint."""

    def log(self, numbers: Metrics) -> None:
        """Receive a row of the training log (see `log.log_row`)."""

    def progress(self, kimg: float, seconds: float) -> None:
        """Receive the position of the training (kimg, seconds) after each step.

        The function must return immediately.
        """

    def stopping(self) -> bool:
        """Return whether the training must save its state and stop after this step.

        The function must return immediately.
        """
