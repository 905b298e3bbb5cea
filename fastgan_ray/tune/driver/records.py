"""Keep the records of trials up to date on disk; remove checkpoints that nothing needs."""

from __future__ import annotations

import shutil
import time
from abc import abstractmethod
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial

from fastgan_ray.metrics.names import best_name, fakes_error_name, final_value, value_of
from fastgan_ray.search.file.metric import COSTS
from fastgan_ray.tune.driver.reports import Reports
from fastgan_ray.tune.driver.state import OUT_OF_MEMORY, reason_of
from fastgan_ray.tune.ray.callback import TrialCallback
from fastgan_ray.tune.ray.compat import TrialLike
from fastgan_ray.tune.storage.snapshot import ended_in_snapshot
from fastgan_ray.tune.trial.folder import checkpoints
from fastgan_ray.tune.trial.folder import stop_reason as read_stop_reason
from fastgan_ray.tune.trial.pbt import read_orders

Record = dict[str, Any]

MAX_SHARE = 0.05  # share of the driver's time for writing; with 1000 trials, writing is slow


def make_record(
    trial: TrialLike, metric: str, ended: bool, error: str = "", stop_reason: str = ""
) -> Record:
    """Return a trial's record, a dict with its state, results and configuration.

    In the record, "value" is the metric value of the best checkpoint, measured on new latents. If
    there is no best checkpoint, "value" is the metric value of the last evaluation.
    "selected_value" is the metric value by which the best checkpoint was chosen.

    `metric` is the metric's name. `ended` says whether the trial is over; an interrupted trial is
    not over, because it can continue. `error` says why the trial's process died, if the process
    will not start again. `stop_reason` says why the search stopped the trial.
    """
    last = trial.last_result or {}
    outcome = last.get("outcome", "running")
    if trial.status == "ERROR" or error:
        state = "out_of_memory" if OUT_OF_MEMORY in error.lower() else "failed"
    elif outcome != "running":
        state = outcome
    else:
        state = "stopped" if ended and last.get("kimg") else "unfinished"
    has_value = state in ("finished", "stopped", "unfinished")
    return {
        "trial_id": trial.trial_id,
        "state": state,
        "value": final_value(last, metric) if has_value else None,
        "error": final_value(last, fakes_error_name(metric)) if has_value else None,
        "last_value": value_of(last, metric) if has_value else None,
        "best_value": last.get(best_name(metric)) if has_value else None,
        "best_kimg": last.get(best_name("kimg")) if has_value else None,
        "selected_value": last.get(best_name("selected")) if has_value else None,
        "num_fakes": last.get("num_fakes") if has_value else None,
        "kimg": last.get("kimg", 0.0),
        "seconds": last.get("seconds", 0.0),
        "reason": last.get("reason") or error or end_reason(state, last, trial.config, stop_reason),
        "seed": trial.config["run"]["train"]["seed"],
        "point": trial.config["point"],
        "config": trial.config["run"],
        "checkpoint": last.get("checkpoint"),
        "grid": last.get("grid"),
        "warning": last.get("warning", ""),
        "costs": {name: last[name] for name in COSTS if name in last},
    }


class TrialRecords(TrialCallback):
    """Writes a summary of all trials when a trial ends, and removes unneeded checkpoints.

    If several trials end within a short time, the summary is written once. The attribute `reports`
    writes report.html from the summary and from the evaluations of running trials. The attribute
    `expected` has the records of the last summary by trial id, if they have expected values (see
    `search/expected.py`). `folder` is the experiment's folder, and `metric` is the metric's name.
    """

    def __init__(self, folder: Path, metric: str) -> None:
        self.folder = folder
        self.reports = Reports(folder)
        self.expected: dict[str, Record] = {}
        self._metric = metric
        # A restored trial may wait for resources until Ray is interrupted, which sets it to
        # TERMINATED. So the snapshot says which trials had ended before.
        self._ended: set[str] = ended_in_snapshot(folder)
        self._final_records: dict[str, Record] = {}
        self._discarded: set[str] = set()
        self._is_changed = False
        self._due = -float("inf")

    @abstractmethod
    def publish(self, records: list[Record], over: bool) -> dict[str, Any]:
        """Write the summary of all trials and return it.

        `records` has one record per trial. `over` is true if no more trials will run.
        """

    def needed(self, records: Sequence[Record]) -> Container[str]:
        """Return the ids of ended trials whose checkpoints may still be needed."""
        return ()

    def discard(self, checkpoint: Path) -> None:
        """Remove a checkpoint of a trial that has ended; a subclass may keep some of its files."""
        shutil.rmtree(checkpoint, ignore_errors=True)

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Update report.html, unless it was written a short time ago."""
        self.reports.refresh()

    def trial_ended(self, trial: Trial) -> None:
        """Remember that a trial has ended; Ray's next step then writes the summary."""
        self._ended.add(trial.trial_id)
        self._is_changed = True

    def trial_failed(self, trial: Trial) -> None:
        """Remember that a trial has ended because its process died too often."""
        self.trial_ended(trial)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Write the summary if a trial has ended since the last summary, but not too often.

        The pause after a summary is so long that writing takes about `MAX_SHARE` of the time.
        """
        if self._is_changed and time.monotonic() >= self._due:
            self.write(trials)

    def write(self, trials: Sequence[Trial], over: bool = False) -> dict[str, Any]:
        """Write the summary and return it; `over` is true if no more trials will run."""
        start = time.monotonic()
        records = [
            self._final_records.get(trial.trial_id) or self._record(trial)
            for trial in sorted(trials, key=lambda trial: trial.trial_id)
        ]
        summary = self.publish(records, over)
        restartable = {trial.trial_id for trial in trials if trial.status == "ERROR"}
        self._discard_checkpoints([r for r in records if r["trial_id"] not in restartable], over)
        now = time.monotonic()
        self._is_changed, self._due = False, now + (now - start) / MAX_SHARE
        self.reports.refresh(over)
        return summary

    def _record(self, trial: Trial) -> Record:
        """Return a trial's record.

        If the trial has ended and Ray's status is final, the record is stored for later calls.
        """
        folder, ended = self.folder / "trials" / trial.trial_id, self._has_ended(trial)
        record = make_record(trial, self._metric, ended, _error(trial), read_stop_reason(folder))
        if orders := read_orders(folder):
            record |= {"point": orders[-1]["point"], "config": orders[-1]["run"]}
            donors = [f"{order['donor']:05d} at {order['kimg']:g} kimg" for order in orders]
            record["reason"] += f"; copied the weights of trial {', '.join(donors)}"
        if ended and trial.status in ("TERMINATED", "ERROR"):
            self._final_records[trial.trial_id] = record
        return record

    def _has_ended(self, trial: Trial) -> bool:
        # When Ray is interrupted, it sets trials to TERMINATED but does not call `trial_ended`.
        return trial.trial_id in self._ended

    def _discard_checkpoints(self, records: Iterable[Record], over: bool) -> None:
        """Remove unneeded checkpoints of trials that have ended.

        Checkpoints are removed only when the newest snapshot of Ray's state says that the trial has
        ended. With an older snapshot, a resume would start the trial again and need a checkpoint.
        If `over` is true, no more trials will run, so the snapshot is not checked.
        """
        in_snapshot = set() if over else ended_in_snapshot(self.folder)
        records = list(records)
        kept = self.needed(records)
        for record in records:
            name = record["trial_id"]
            if record["state"] == "unfinished" or name in self._discarded or name in kept:
                continue
            if over or name in in_snapshot:
                for checkpoint in checkpoints(self.folder / "trials" / name):
                    self.discard(checkpoint)
                self._discarded.add(name)


def end_reason(
    state: str, last: Mapping[str, Any], config: Mapping[str, Any], stop_reason: str
) -> str:
    """Return a text about how a trial ended, such as "trained 40 of 40 kimg".

    Return "" if the trial failed, diverged or ran out of memory. `state` is the trial's state.
    `last` is the trial's last result. `config` is the searcher's suggestion. `stop_reason` says why
    the search stopped the trial.
    """
    kimg = f"{last.get('kimg', 0.0):g} of {config['run']['train']['total_kimg']:g} kimg"
    return {
        "finished": f"trained {kimg}",
        "stopped": f"stopped early at {kimg}" + (f": {stop_reason}" if stop_reason else ""),
        "unfinished": f"at {kimg}: running or interrupted",
        "running": f"interrupted at {kimg}",
    }.get(state, "")


def _error(trial: Trial) -> str:
    if trial.status != "ERROR":
        return ""
    reason = reason_of(trial, {})
    return reason if reason.startswith(OUT_OF_MEMORY) else f"its process died too often: {reason}"
