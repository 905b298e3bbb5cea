"""Write each evaluation of a trial to the trial's folder, and report it to Ray Tune.

One evaluation is a row of metrics.jsonl. A trial with one process reports to Ray Tune itself. In a
trial with several workers, the first worker writes the row. Then it waits until the trial's outer
process has reported the row to Ray Tune.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray.tune

from fastgan_ray.errors import DivergedError, UserError
from fastgan_ray.metrics.names import value_of
from fastgan_ray.report.data.rows import TRAINING, read_rows
from fastgan_ray.train.reporter import Metrics
from fastgan_ray.train.signals import Stop
from fastgan_ray.tune.driver.signals import TrialStop
from fastgan_ray.tune.storage.sync import TrialSync
from fastgan_ray.tune.trial.folder import Outcome, Row, append_row
from fastgan_ray.tune.trial.pbt import TakeOverError, read_orders, remove_weights_of_orders

STOP = Stop()  # the stop signal of this process, which runs one trial at a time
# A file with the number of rows that the search has handled; only for trials with several workers.
DECIDED = "decided.txt"
SECONDS_BETWEEN_LOOKS = 0.1


class RowReporter:
    """Writes a trial's evaluations and training numbers as rows to files in `folder`.

    `metric` is the name of the metric that each evaluation must have. `total_kimg` is the full
    length of the trial.
    """

    def __init__(self, folder: Path, metric: str, total_kimg: float) -> None:
        self.folder = folder
        self._stop = TrialStop(STOP, folder.parent)
        self._metric = metric
        self._total_kimg = total_kimg
        self._orders = len(read_orders(folder))

    def report(self, metrics: Metrics, checkpoint: Path) -> None:
        """Report one evaluation.

        `metrics` has the evaluation's numbers. `checkpoint` is the folder of its checkpoint. Raises
        DivergedError if a number is not finite, so that Ray never gets a NaN. Raises UserError if
        the metric is missing. Raises TakeOverError if the search orders the trial to continue with
        another trial's weights.
        """
        self._check(metrics)
        is_finished = float(metrics["kimg"]) >= self._total_kimg
        self._write(metrics, "finished" if is_finished else "running", checkpoint, "")
        remove_weights_of_orders(self.folder, self._orders)  # the trial's new checkpoint is newer
        # By now, the search has handled this report and written any order.
        if len(read_orders(self.folder)) > self._orders:
            raise TakeOverError

    def log(self, numbers: Metrics) -> None:
        """Write training numbers, such as losses, to the trial's folder.

        The process that runs the search reads them there.
        """
        append_row(self.folder, numbers, TRAINING)

    def progress(self, kimg: float, seconds: float) -> None:
        """Ignore the progress, because the search uses only evaluations."""

    def stopping(self) -> bool:
        """Return whether the trial must stop: its process got a signal, or all trials stop."""
        return self._stop.asked

    def end(self, outcome: Outcome, reason: str) -> None:
        """Report a last row without a metric value, which says how and why the trial ended."""
        rows = read_rows(self.folder)
        last: Row = rows[-1] if rows else {"kimg": 0.0, "seconds": 0.0, "checkpoint": "."}
        position = {"kimg": last["kimg"], "seconds": last["seconds"]}
        self._write(position, outcome, self.folder / last["checkpoint"], reason)

    def _check(self, metrics: Metrics) -> None:
        for name, value in metrics.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise DivergedError(f"{name} is {value} at {metrics['kimg']} kimg")
        if value_of(metrics, self._metric) is None:
            reported = ", ".join(k for k, value in metrics.items() if not isinstance(value, str))
            raise UserError(
                f"metric.name: the trial must report {self._metric}, but it reports {reported}"
            )

    def _write(
        self, metrics: Mapping[str, Any], outcome: Outcome, checkpoint: Path, reason: str
    ) -> Row:
        row = {
            **metrics,
            "total_kimg": self._total_kimg,
            "outcome": outcome,
            "reason": reason,
            "checkpoint": str(checkpoint.relative_to(self.folder)),
            "orders": self._orders,
        }
        append_row(self.folder, row)
        return row


class TuneReporter(RowReporter):
    """Writes each row, sends it to the remote storage, and reports it to Ray Tune.

    It is used in a trial with one process. If there is no remote storage, `sync` does nothing.
    """

    def __init__(self, folder: Path, metric: str, total_kimg: float, sync: TrialSync) -> None:
        super().__init__(folder, metric, total_kimg)
        self._sync = sync

    def _write(
        self, metrics: Mapping[str, Any], outcome: Outcome, checkpoint: Path, reason: str
    ) -> Row:
        row = super()._write(metrics, outcome, checkpoint, reason)
        self._sync.send()
        ray.tune.report(row)
        return row


class WorkerReporter(RowReporter):
    """Writes the rows of a trial with several workers.

    After each row, it waits until the search has handled the row. It does not wait after the row
    that ends the trial.
    """

    def _write(
        self, metrics: Mapping[str, Any], outcome: Outcome, checkpoint: Path, reason: str
    ) -> Row:
        row = super()._write(metrics, outcome, checkpoint, reason)
        count = len(read_rows(self.folder)) if outcome == "running" else 0
        while int((self.folder / DECIDED).read_text()) < count:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return row
