"""Print the progress of one training: a line for each evaluation, and lines in between."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from fastgan_ray.config.feature_networks import MARK, shared_data
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.counting import minutes_text
from fastgan_ray.metrics.names import NO_METRIC, best_name, run_metric, shown_name, value_of
from fastgan_ray.progress import SECONDS_BETWEEN_LINES
from fastgan_ray.train.reporter import Metrics
from fastgan_ray.train.signals import Stop


class TerminalReporter:
    """A reporter that prints a line after each evaluation, and progress lines in between."""

    def __init__(
        self, folder: Path, config: RunConfig, show: Sequence[str], console: Console, stop: Stop
    ) -> None:
        self.folder = folder
        self._stop = stop
        self._total_kimg = config.train.total_kimg
        names = [run_metric(config.eval)[0], *(shown_name(name, config.eval) for name in show)]
        self._names = list(dict.fromkeys(names))
        self._mark = f" {MARK}" if shared_data(config.model, config.eval.extractor) else ""
        self._console = console
        self._last_line = time.monotonic()
        self._last: Metrics = {}

    def report(self, metrics: Metrics, checkpoint: Path) -> None:
        """Print the chosen metrics, the speed, the path of the sample grid, and any warning.

        The sign in the constant MARK follows the metrics if the feature networks of the metric and
        of the discriminator were trained on the same data.
        """
        self._last = metrics
        names = [name for name in self._names if name != NO_METRIC]
        values = "  ".join(f"{name} {_format(metrics, name)}" for name in names)
        values = f"[bold]{values}[/bold]{self._mark}"
        self._console.print(
            f"{metrics['kimg']:.4g} of {self._total_kimg:g} kimg  {values}  "
            f"{metrics['images_per_second']:.1f} images/s  {escape(str(metrics['grid']))}",
            highlight=False,
            soft_wrap=True,
        )
        if warning := metrics.get("warning"):
            self._console.print(f"[yellow]warning:[/yellow] {escape(str(warning))}", soft_wrap=True)
        self._last_line = time.monotonic()

    def log(self, numbers: Metrics) -> None:
        """Do nothing: the numbers between evaluations are written only to files."""

    def progress(self, kimg: float, seconds: float) -> None:
        """Print the kimg so far and the estimated remaining time, at most every ten seconds.

        `seconds` is the training time so far.
        """
        if time.monotonic() - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._console.print(
            f"{kimg:.4g} of {self._total_kimg:g} kimg, "
            f"{minutes_text(seconds / kimg * (self._total_kimg - kimg))} of training left",
            highlight=False,
        )
        self._last_line = time.monotonic()

    def closing(self) -> str:
        """Return a text about the best and the last checkpoint, to print after the training.

        Return "" if the training keeps no best checkpoint.
        """
        metric, kimg = self._names[0], self._last.get(best_name("kimg"))
        if kimg is None:
            return ""
        selected, measured, last = (
            value_of(self._last, name, math.nan)
            for name in (best_name("selected"), best_name(metric), metric)
        )
        return (
            f"Best checkpoint: {metric} {measured:.4g} on new latents, at {kimg:g} kimg. On the "
            f"latents that were used to choose this checkpoint, the value was {selected:.4g}. "
            f"Last checkpoint: {metric} {last:.4g}.{self._mark}"
        )

    def stopping(self) -> bool:
        """Return whether the training must stop because of Ctrl-C or SIGTERM."""
        return self._stop.asked


def _format(metrics: Metrics, name: str) -> str:
    value = value_of(metrics, name)
    return "not measured" if value is None else f"{value:.4g}"
