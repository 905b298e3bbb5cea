"""What a command prints: consoles, and the progress of a training for a person or a log file."""

from __future__ import annotations

import math
import time
from pathlib import Path

from rich.console import Console

from fastgan_ray.metrics.names import value_of
from fastgan_ray.progress import SECONDS_BETWEEN_LINES
from fastgan_ray.train.reporter import Metrics
from fastgan_ray.train.signals import Stop

console = Console()
# Progress goes to standard error, so that it does not mix with what --json prints.
progress_console = Console(stderr=True)


class TerminalReporter:
    """Prints a line at every evaluation and, in between, how far the run has come."""

    def __init__(
        self, folder: Path, total_kimg: float, metric: str, console: Console, stop: Stop
    ) -> None:
        self.folder = folder
        self._stop = stop
        self._total_kimg = total_kimg
        self._metric = metric
        self._console = console
        self._printed = time.monotonic()

    def report(self, metrics: Metrics, checkpoint: Path) -> None:
        """Print the metric and where its pictures and weights are."""
        value = value_of(metrics, self._metric, math.nan)
        self._console.print(
            f"{metrics['kimg']:.4g} of {self._total_kimg:g} kimg  "
            f"[bold]{self._metric} {value:.2f}[/bold]  "
            f"{metrics['images_per_second']:.1f} images/s  {metrics['grid']}",
            highlight=False,
            soft_wrap=True,
        )
        if warning := metrics.get("warning"):
            self._console.print(f"[yellow]warning:[/yellow] {warning}", soft_wrap=True)
        self._printed = time.monotonic()

    def progress(self, kimg: float, seconds: float) -> None:
        """Print the position and the time left, at most every ten seconds."""
        if time.monotonic() - self._printed < SECONDS_BETWEEN_LINES:
            return
        left = seconds / kimg * (self._total_kimg - kimg)
        self._console.print(
            f"{kimg:.4g} of {self._total_kimg:g} kimg, about {left / 60:.0f} min of training left",
            highlight=False,
        )
        self._printed = time.monotonic()

    def stopping(self) -> bool:
        """Whether Ctrl-C or SIGTERM has come."""
        return self._stop.asked
