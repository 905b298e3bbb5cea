"""What is known of the trials of a search or an ablation, and kept up to date on the disk."""

from __future__ import annotations

import shutil
import time
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial

from fastgan_ray.metrics.names import fakes_error_name, value_of
from fastgan_ray.search.file.metric import COSTS
from fastgan_ray.tune.driver.reports import Reports
from fastgan_ray.tune.driver.state import OUT_OF_MEMORY, reason_of
from fastgan_ray.tune.pbt import read_orders
from fastgan_ray.tune.ray.callback import TrialCallback
from fastgan_ray.tune.ray.compat import TrialLike
from fastgan_ray.tune.storage.snapshot import over_in_snapshot
from fastgan_ray.tune.trial.folder import checkpoints, stop_reason

Record = dict[str, Any]

SHARE = 0.05  # of the driver's time at most: an account of a thousand trials takes a while to write


def record(
    trial: TrialLike, metric: str, ended: bool, error: str = "", stopped: str = ""
) -> Record:
    """One trial: how far it came, and its metric. `ended`: it is over, not only interrupted.

    `error` is why its process died for good, `stopped` why the search stopped it, if so.
    """
    last = trial.last_result or {}
    outcome = last.get("outcome", "running")
    if trial.status == "ERROR" or error:
        state = "out_of_memory" if "out of memory" in error.lower() else "failed"
    elif outcome != "running":
        state = outcome
    elif ended:
        state = "stopped" if last.get("kimg") else "unfinished"
    else:
        state = "unfinished"
    valued = state in ("finished", "stopped", "unfinished")
    return {
        "trial_id": trial.trial_id,
        "state": state,
        "value": value_of(last, metric) if valued else None,
        "error": value_of(last, fakes_error_name(metric)) if valued else None,
        "num_fakes": last.get("num_fakes") if valued else None,
        "kimg": last.get("kimg", 0.0),
        "seconds": last.get("seconds", 0.0),
        "reason": last.get("reason") or error or _reason(state, last, trial.config, stopped),
        "point": trial.config["point"],
        "config": trial.config["run"],
        "checkpoint": last.get("checkpoint"),
        "grid": last.get("grid"),
        "warning": last.get("warning", ""),
        "costs": {name: last[name] for name in COSTS if name in last},
    }


class TrialRecords(TrialCallback):
    """Writes an account of all trials when one has ended, and takes off the disk what it can.

    Of ends that follow each other closely it writes once. `reports` writes report.html from it, and
    from what running trials have measured.
    """

    def __init__(self, folder: Path, metric: str) -> None:
        self.folder = folder
        self.reports = Reports(folder)
        self._metric = metric
        self._begun: set[str] = set()
        self._ended: set[str] = set()
        self._told: dict[str, Record] = {}  # of trials that are over, whose records stay
        self._tidied: set[str] = set()
        self._waiting = False
        self._due = -float("inf")

    @abstractmethod
    def publish(self, records: list[Record], over: bool) -> dict[str, Any]:
        """Write what `records` amount to; returns it. `over`: no trial will run any more."""

    def discard(self, checkpoint: Path) -> None:
        """Free the disk of the checkpoint of a trial that has ended, as far as nobody needs it."""
        shutil.rmtree(checkpoint, ignore_errors=True)

    def trial_started(self, trial: Trial) -> None:
        """Note that a trial runs in this session."""
        self._begun.add(trial.trial_id)

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Let the report take in what a trial has measured."""
        self.reports.refresh()

    def trial_ended(self, trial: Trial) -> None:
        """Take in a trial's end."""
        self._ended.add(trial.trial_id)
        self._waiting = True

    def trial_failed(self, trial: Trial) -> None:
        """Take in a trial whose process died once too often."""
        self.trial_ended(trial)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Write what has ended, unless that was done just now."""
        if self._waiting and time.monotonic() >= self._due:
            self.write(trials)

    def write(self, trials: Sequence[Trial], over: bool = False) -> dict[str, Any]:
        """Write everything; returns the account. `over`: no trial will run any more."""
        began = time.monotonic()
        records = [
            self._told.get(trial.trial_id) or self._record(trial)
            for trial in sorted(trials, key=lambda trial: trial.trial_id)
        ]
        account = self.publish(records, over)
        again = {trial.trial_id for trial in trials if trial.status == "ERROR"}
        self._tidy([one for one in records if one["trial_id"] not in again], over)
        now = time.monotonic()
        self._waiting, self._due = False, now + (now - began) / SHARE
        self.reports.refresh(over)
        return account

    def _record(self, trial: Trial) -> Record:
        """A trial as it stands; kept once the trial is over and Ray has set its last status."""
        folder = self.folder / "trials" / trial.trial_id
        error, stopped = _error(trial), stop_reason(folder)
        found = record(trial, self._metric, self._is_over(trial), error, stopped)
        if given := read_orders(folder):
            found |= {"point": given[-1]["point"], "config": given[-1]["run"]}
            donors = ", ".join(f"{one['donor']:05d} at {one['kimg']:g} kimg" for one in given)
            found["reason"] += f"; went on from {donors}"
        if self._is_over(trial) and trial.status in ("TERMINATED", "ERROR"):
            self._told[trial.trial_id] = found
        return found

    def _is_over(self, trial: Trial) -> bool:
        # An interrupt leaves its running trials TERMINATED, but tells no callback so.
        earlier = trial.status == "TERMINATED" and trial.trial_id not in self._begun
        return earlier or trial.trial_id in self._ended

    def _tidy(self, records: Iterable[Record], over: bool) -> None:
        """Discard the checkpoints of trials of whose end Ray's record is on the disk; `records` has
        none that a resume would start again."""
        recorded = set() if over else over_in_snapshot(self.folder)
        for one in records:
            name = one["trial_id"]
            if one["state"] == "unfinished" or name in self._tidied:
                continue
            if over or name in recorded:
                for checkpoint in checkpoints(self.folder / "trials" / name):
                    self.discard(checkpoint)
                self._tidied.add(name)


def _reason(state: str, last: dict[str, Any], config: dict[str, Any], stopped: str) -> str:
    kimg = f"{last.get('kimg', 0.0):g} of {config['run']['train']['total_kimg']:g} kimg"
    return {
        "finished": f"trained {kimg}",
        "stopped": f"stopped early at {kimg}" + (f": {stopped}" if stopped else ""),
        "unfinished": f"at {kimg}: running, or interrupted there",
    }.get(state, "")


def _error(trial: Trial) -> str:
    if trial.status != "ERROR":
        return ""
    reason = reason_of(trial, {})
    if reason.startswith(OUT_OF_MEMORY):
        return reason
    return f"its process died again and again: {reason}"
