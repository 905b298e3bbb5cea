"""report.html beside a run's results: kept up to date, and never in the way of the search."""

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
SECONDS_BETWEEN = 30.0
SHARE = 0.05  # of the driver's time at most


class Reports:
    """Writes the report when asked to, but only now and then, and whatever happens without a raise.

    `fault` is why the last one could not be written, or nothing.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.fault = ""
        self._folder = folder
        self._clock = clock
        self._due = -float("inf")

    def refresh(self, over: bool = False) -> None:
        """Write it if one is due. `over`: the results will change no more, so that it is."""
        began = self._clock()
        if began < self._due and not over:
            return
        try:
            write_report(self._folder)
            self.fault = ""
        except Exception as error:  # a search is worth more than a picture of it
            self.fault = f"{type(error).__name__}: {error}"
        now = self._clock()
        self._due = now + max(SECONDS_BETWEEN, (now - began) / SHARE)

    def describe(self) -> str:
        """What is said of it at the end."""
        if self.fault:
            return (
                f"The report could not be written ({self.fault}); the results stand. Try again: "
                f"fastgan-ray report {self._folder}"
            )
        return f"Report:  {self._folder / NAME}"


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write the report on a search or an ablation, into its folder by default; returns its path.

    UserError if `folder` is no run's. OSError if it cannot be written.
    """
    path = out or folder / NAME
    write_atomically(path, page(read_run(folder), importances(folder), datetime.now(timezone.utc)))
    return path


def note_versions(folder: Path) -> None:
    """Add the versions of this process to versions.json, unless they are those of the last one."""
    path = folder / "versions.json"
    known = json.loads(path.read_text()) if path.is_file() else []
    found = {
        **{name: version(name) for name in PACKAGES},
        "Python": platform.python_version(),
        "system": platform.platform(),
    }
    if known[-1:] != [found]:
        write_atomically(path, json.dumps([*known, found], indent=1))
