"""What the trainer knows of whoever started it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

# The folder, beside the checkpoints of evaluations, of a checkpoint where a run was stopped between
# two of them. The next evaluation removes it.
INTERRUPTED = "interrupted"

Metrics = Mapping[str, float | int | str]


class Reporter(Protocol):
    """Takes what a run produces. A Tune trial, a Ray Train worker and a terminal are three."""

    folder: Path
    """Where the trainer may write checkpoints and sample grids; exists."""

    def report(self, metrics: Metrics, checkpoint: Path) -> None:
        """One evaluation: scalars and paths by name, and the folder of the checkpoint."""

    def progress(self, kimg: float, seconds: float) -> None:
        """Called after every step; must return at once."""

    def stopping(self) -> bool:
        """Called after every step: whether to save and stop here. Must return at once."""
