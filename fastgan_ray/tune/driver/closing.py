"""Print where the results of a run are, and whether it was stopped or has failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from fastgan_ray.counting import counted
from fastgan_ray.errors import FailedRunError
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

    The first of `folders` is the experiment's folder. The other folders are subfolders with further
    W&B runs. `closing` has the texts and tables that describe the outcome. Raises
    InterruptedRunError if trials are unfinished or if a signal asked to stop. Raises FailedRunError
    if no trial has a metric value, or if several trials in a row have failed for the same reason.
    """
    console, stop, sync = context.console, context.driver.stop, context.sync
    unfinished = is_interrupted(summary) and not summary.get("ended_early")
    if interrupted := unfinished or stop.asked:
        say(console, f"Stopped before the end. {how_to_continue}")
    for part in closing:
        say(console, part)
    say(console, f"Results: {folders[0]}")
    say(console, reports.describe())
    if sync:
        fault = f", but not completely ({sync.fault}); the local folder is complete"
        say(console, f"Copied:  {context.storage}{fault if sync.fault else ''}")
    for folder in folders:
        if command := sync_line(folder):
            say(console, f"To W&B:  {command}")
    if interrupted:
        raise stop.error(f"{folders[0]} is not finished")
    if failure := failure_of(summary):
        raise FailedRunError(f"{folders[0]}: {failure}")


def failure_of(summary: Mapping[str, Any]) -> str:
    """Return why an experiment has failed; "" if it has not failed.

    `summary` is the content of summary.json or ablation.json.
    """
    if reason := summary.get("ended_early"):
        return f"ended early, because {reason}. Solve this problem, then continue with --resume."
    trials = summary["trials"]
    if any(trial["value"] is not None for trial in trials):
        return ""
    if not trials:
        return "no trial has started, so there is no result"
    counts = Counter(
        (trial["state"].replace("out_of_memory", "ran out of memory"), trial["reason"])
        for trial in trials
    )
    (state, reason), count = counts.most_common(1)[0]
    return f"no trial has a value; {count} of {counted(len(trials), 'trial')} {state}: {reason}"


def is_interrupted(summary: Mapping[str, Any]) -> bool:
    """Return whether trials of an experiment, or of its confirmation, are unfinished."""
    confirmation = summary.get("confirmation") or {"unfinished": 0}
    unfinished = any(trial["state"] == "unfinished" for trial in summary["trials"])
    return unfinished or bool(confirmation["unfinished"])
