"""Find the status and progress of a run that another process runs (command `status`)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from fastgan_ray.files import write_atomically
from fastgan_ray.report.data.run_folder import read_run
from fastgan_ray.report.text import search_verdict
from fastgan_ray.tune.driver.state import ENDED, State, best_of, new_state
from fastgan_ray.tune.storage.lock import find_driver

PROGRESS = ".progress.json"  # in a run's folder; the state of the live table (see state.py)
SECONDS_BETWEEN_WRITES = 1.0
PARTS = (".", "confirm")  # the run's folder and its subfolder that may have a PROGRESS file


class Part(NamedTuple):
    """The state of a live table, and the current time `now`.

    `now` is in seconds, on the same monotonic clock as the times in `state`.
    """

    state: State
    now: float


class ProgressFile:
    """Writes the state of the live table to a file, at most once a second.

    The file is PROGRESS in `folder`. Other processes read it to show the progress of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS
        self._last_write = -float("inf")

    def write(self, state: State, now: float, at_once: bool = False) -> None:
        """Write the state, unless it was written less than a second ago.

        If `at_once` is true, always write it. `now` is the time in seconds on the clock of `state`.
        """
        if at_once or now - self._last_write >= SECONDS_BETWEEN_WRITES:
            content = {"state": state, "now": now, "time": time.time()}
            write_atomically(self._path, json.dumps(content))
            self._last_write = now


class Status(NamedTuple):
    """The status of a run.

    `word` is "running", "ended" or "interrupted". An interrupted run was stopped or killed before
    its end. `pid` is the ID of the process that works on the run, or None. `parts` has the live
    table of the run and, if there is a confirmation, the live table of the confirmation. `verdict`
    is a text with the run's result so far.
    """

    name: str
    word: str
    pid: int | None
    parts: list[Part]
    verdict: str


def status_of(folder: Path) -> Status:
    """Return the status of a search, an ablation or a training.

    Raises UserError if `folder` is not the folder of such a run, or if a process on another machine
    works on the run.
    """
    run = read_run(folder)
    driver = find_driver(folder)
    parts = [part for name in PARTS if (part := _read(folder / name, driver is not None))]
    if not parts:  # no trial has started, or an earlier version wrote the folder
        parts = [_part_of(run)]
    ended = all(row["state"] in ENDED for part in parts for row in part.state["trials"].values())
    ended = ended and all(part.state["over"] for part in parts)
    word = "running" if driver else "ended" if ended else "interrupted"
    verdict = search_verdict(run["account"] or {})
    return Status(run["name"], word, driver.pid if driver else None, parts, verdict)


def as_json(status: Status) -> dict[str, Any]:
    """Return the status as a dict that can be written as JSON."""
    return {
        "name": status.name,
        "status": status.word,
        "pid": status.pid,
        "verdict": status.verdict,
        "parts": [_part_as_json(part.state) for part in status.parts],
    }


def _part_as_json(state: State) -> dict[str, Any]:
    best = best_of(state)
    return {
        "name": state["name"],
        "metric": state["metric"],
        "trials_done": sum(row["state"] in ENDED for row in state["trials"].values()),
        "trials": state["total_trials"],
        "best": best,
        "value": None if best is None else state["trials"][best]["value"],
    }


def _read(folder: Path, running: bool) -> Part | None:
    path = folder / PROGRESS
    if not path.is_file():
        return None
    content = json.loads(path.read_text())
    state, now = content["state"], content["now"]
    if running:
        return Part(state, now + max(0.0, time.time() - content["time"]))
    for row in state["trials"].values():
        row["state"] = row["state"] if row["state"] in ENDED else "unfinished"
    return Part(state, now)


def _part_of(run: dict[str, Any]) -> Part:
    """Return the state of a run's live table, computed from the run's results.

    This is needed if the run has no PROGRESS file. `run` is the result of `read_run`.
    """
    metric = run["metric"]
    count = len(run["trials"]) or None
    state = new_state(run["name"], metric["name"], metric["goal"], count, 0.0, now=0.0)
    for trial in run["trials"]:
        last = trial["rows"][-1] if trial["rows"] else {}
        state["trials"][trial["trial_id"]] = {
            "id": trial["trial_id"],
            "point": trial["point"],
            "total_kimg": last.get("total_kimg", trial["kimg"]) or 1.0,
            "kimg": trial["kimg"],
            "value": trial["value"],
            "images_per_second": last.get("images_per_second"),
            "reason": trial["reason"],
            "state": trial["state"],
            "start": None,
            "last_report": None,
            "share_before": 0.0,
        }
    unfinished = any(row["state"] not in ENDED for row in state["trials"].values())
    return Part({**state, "over": bool(count) and not unfinished}, 0.0)
