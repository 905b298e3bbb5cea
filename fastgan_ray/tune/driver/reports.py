"""Keep report.html up to date beside the results, without ever stopping the search."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from fastgan_ray.files import write_atomically
from fastgan_ray.report.data.run_folder import read_run
from fastgan_ray.report.page.html import page
from fastgan_ray.tune.suggest.importance import importances

NAME = "report.html"
PACKAGES = ("fastgan-ray", "torch", "torchvision", "ray", "optuna", "numpy", "pillow")
SECONDS_BETWEEN_REPORTS = 30.0
MAX_SHARE = 0.05  # of the driver's time


class Reports:
    """Writes the report from time to time, and never raises.

    `fault` says why the last one could not be written, or is empty.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.fault = ""
        self._folder = folder
        self._clock = clock
        self._due = -float("inf")

    def refresh(self, over: bool = False) -> None:
        """Write the report if it is due. `over`: the results are final, so it is due."""
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
        """Return where the report is, or why it could not be written."""
        if self.fault:
            return (
                f"The report could not be written ({self.fault}); the results are complete. "
                f"Try again with: fastgan-ray report {self._folder}"
            )
        return f"Report:  {self._folder / NAME}"


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write the report of a search or an ablation, by default in its folder; return its path.

    UserError if `folder` is not that of a search or an ablation. OSError if the report cannot be
    written.
    """
    path = out or folder / NAME
    write_atomically(path, page(read_run(folder), importances(folder), datetime.now(timezone.utc)))
    return path


def note_versions(folder: Path) -> None:
    """Add this process's versions to versions.json, unless they are the same as the last ones."""
    path = folder / "versions.json"
    history = json.loads(path.read_text()) if path.is_file() else []
    versions = {
        **{name: version(name) for name in PACKAGES},
        "Python": platform.python_version(),
        "system": platform.platform(),
    }
    if history[-1:] != [versions]:
        write_atomically(path, json.dumps([*history, versions], indent=1))
