"""Keep the report.html of a run up to date. An error in the report never stops the search."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from fastgan_ray.files import write_atomically
from fastgan_ray.report.data.run_folder import read_run
from fastgan_ray.report.page.html import page
from fastgan_ray.tune.suggest.importance import importances

NAME = "report.html"
SECONDS_BETWEEN_REPORTS = 30.0
MAX_SHARE = 0.05  # share of the driver's time for writing reports


class Reports:
    """Writes the report of the run in `folder`, but not too often; raises no exception.

    The attribute `fault` says why the last report could not be written; it is "" if there was no
    error. `clock` returns the time in seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.fault = ""
        self._folder = folder
        self._clock = clock
        self._due = -float("inf")

    def refresh(self, over: bool = False) -> None:
        """Write the report, unless it was written a short time ago.

        If `over` is true, the results are final, and the report is always written.
        """
        start = self._clock()
        if start < self._due and not over:
            return
        try:
            write_report(self._folder)
            self.fault = ""
        except Exception as error:  # a search must not end because of its report
            self.fault = f"{type(error).__name__}: {error}"
        now = self._clock()
        self._due = now + max(SECONDS_BETWEEN_REPORTS, (now - start) / MAX_SHARE)

    def describe(self) -> str:
        """Return a line that says where the report is, or why it could not be written."""
        if self.fault:
            return (
                f"The report could not be written ({self.fault}); the results are complete. "
                f"Try again with: {shlex.join(['fastgan-ray', 'report', str(self._folder)])}"
            )
        return f"Report:  {self._folder / NAME}"


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write the report of the run in `folder` to the file `out`; return the report's path.

    The run is a search, an ablation or a training. If `out` is None, the file is report.html in
    `folder`. Raises UserError if `folder` is not the folder of a run, and OSError if the report
    cannot be written.
    """
    path = out or folder / NAME
    write_atomically(path, page(read_run(folder), importances(folder), datetime.now(timezone.utc)))
    return path
