"""A reporter that prints the progress of a single training to a terminal or a log file."""

from __future__ import annotations

import math
import time
from pathlib import Path

from rich.console import Console

from fastgan_ray.counting import minutes_text
from fastgan_ray.metrics.names import value_of
from fastgan_ray.progress import SECONDS_BETWEEN_LINES
from fastgan_ray.train.reporter import Metrics
from fastgan_ray.train.signals import Stop


class TerminalReporter:
    """A reporter that prints a line after each evaluation, and progress lines in between."""

    def __init__(
        self, folder: Path, total_kimg: float, metric: str, console: Console, stop: Stop
    ) -> None:
        self.folder = folder
        self._stop = stop
        self._total_kimg = total_kimg
        self._metric = metric
        self._console = console
        self._last_line = time.monotonic()

    def report(self, metrics: Metrics, checkpoint: Path) -> None:
        """Print the metric, the speed, the path of the sample grid and any warning."""
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
        self._last_line = time.monotonic()

    def progress(self, kimg: float, seconds: float) -> None:
        """Print the kimg so far and the remaining time, at most every ten seconds."""
        if time.monotonic() - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._console.print(
            f"{kimg:.4g} of {self._total_kimg:g} kimg, "
            f"{minutes_text(seconds / kimg * (self._total_kimg - kimg))} of training left",
            highlight=False,
        )
        self._last_line = time.monotonic()

    def stopping(self) -> bool:
        """Return whether the training must stop because of Ctrl-C or SIGTERM."""
        return self._stop.asked
