"""The text that is printed at the end of an experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from fastgan_ray.tune.driver.reports import Reports
from fastgan_ray.tune.driver.terminal import say
from fastgan_ray.tune.experiment import ExperimentContext
from fastgan_ray.tune.wandb.session import sync_line


def report_outcome(
    context: ExperimentContext,
    folders: Sequence[Path],
    summary: Mapping[str, Any],
    closing: Sequence[RenderableType],
    reports: Reports,
    how_to_continue: str = "Continue with the same command and --resume.",
) -> None:
    """Print the outcome, and where the results, the report and the W&B runs are.

    `folders` has the experiment's folder first, then its subfolders that have their own W&B runs.
    Raises InterruptedRunError if trials are unfinished.
    """
    console, stop, sync = context.console, context.driver.stop, context.sync
    if interrupted := is_interrupted(summary) or stop.asked:
        say(console, f"Stopped before the end. {how_to_continue}")
    for part in closing:
        say(console, part)
    say(console, f"Results: {folders[0]}")
    say(console, reports.describe())
    if sync:
        fault = f", but not everything ({sync.fault}); the folder has everything"
        say(console, f"Copied:  {context.storage}{fault if sync.fault else ''}")
    for folder in folders:
        if command := sync_line(folder):
            say(console, f"To W&B:  {command}")
    if interrupted:
        raise stop.error(f"{folders[0]} is not finished")


def is_interrupted(summary: Mapping[str, Any]) -> bool:
    """Return whether trials of an experiment, or of its confirmation, are unfinished."""
    confirmation = summary.get("confirmation") or {"unfinished": 0}
    unfinished = any(trial["state"] == "unfinished" for trial in summary["trials"])
    return unfinished or bool(confirmation["unfinished"])
