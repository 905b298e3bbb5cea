"""What a search has found: summary.json, trials.csv and the folder of its best trial."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from ray.tune import Callback
from ray.tune.experiment import Trial

from fastgan_ray.config.schema import RunConfig
from fastgan_ray.config.yaml_io import dump_run_config
from fastgan_ray.metrics.names import fakes_error_name, value_of
from fastgan_ray.search.spec import Metric, SearchSpec, start_point
from fastgan_ray.tune.progress import reason_of

Record = dict[str, Any]

# How long a trial's last checkpoint outlives it: until Ray's record of its end is on the disk.
KEEP_SECONDS = 30.0
# The sections in which the published FastGAN has its say; the others are the user's.
PUBLISHED_PARTS = ("model", "augment", "train")
COLUMNS = ("trial_id", "state", "value", "error", "num_fakes", "kimg", "seconds", "reason")
CLEAR = 2.0  # standard errors of a difference that evaluation noise hardly explains


class TrialLike(Protocol):
    """The parts of `ray.tune.experiment.Trial` that a record is made of."""

    trial_id: str
    config: dict[str, Any]
    status: str

    @property
    def last_result(self) -> dict[str, Any]:
        """The latest row, empty before the first."""


def record(trial: TrialLike, spec: SearchSpec, ended: bool, error: str = "") -> Record:
    """One trial as summary.json has it. `ended`: it is over, not only interrupted."""
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
    metric, valued = spec.metric.name, state in ("finished", "stopped", "unfinished")
    return {
        "trial_id": trial.trial_id,
        "state": state,
        "value": value_of(last, metric) if valued else None,
        "error": value_of(last, fakes_error_name(metric)) if valued else None,
        "num_fakes": last.get("num_fakes") if valued else None,
        "kimg": last.get("kimg", 0.0),
        "seconds": last.get("seconds", 0.0),
        "reason": last.get("reason") or error or _reason(state, last, trial.config),
        "point": trial.config["point"],
        "config": trial.config["run"],
        "checkpoint": last.get("checkpoint"),
        "grid": last.get("grid"),
    }


def choose_best(records: Iterable[Record], metric: Metric) -> Record | None:
    """The best last value among the finished trials, or among the stopped if none has finished.

    A cheap evaluation's value is so compared with its like alone: no run ends with one.
    """
    valued = [one for one in records if one["value"] is not None and one["state"] != "unfinished"]
    finished = [one for one in valued if one["state"] == "finished"]
    sign = 1 if metric.goal == "minimize" else -1
    return min(
        finished or valued, key=lambda one: (sign * one["value"], one["trial_id"]), default=None
    )


def summarise(
    records: Sequence[Record], spec: SearchSpec, name: str, protocol: dict[str, Any]
) -> dict[str, Any]:
    """The content of summary.json."""
    best = choose_best(records, spec.metric)
    default, whole = _default(records, spec)
    beats, verdict = judge(best, default, spec.metric, whole)
    return {
        "name": name,
        "metric": {"name": spec.metric.name, "goal": spec.metric.goal},
        "protocol": protocol,
        "best": best
        and {
            "trial_id": best["trial_id"],
            "value": best["value"],
            "error": best["error"],
            "config": best["config"],
            "checkpoint": "best/checkpoint",
            "state": best["state"],
        },
        "default": default
        and {key: default[key] for key in ("trial_id", "value", "error", "state")},
        "best_beats_default": beats,
        "verdict": verdict,
        "trials": [{key: one[key] for key in (*COLUMNS, "point")} for one in records],
    }


def judge(
    best: Record | None, default: Record | None, metric: Metric, whole: bool = True
) -> tuple[bool | None, str]:
    """Whether the best trial beats the published default (None = unknown), and a sentence.

    `whole`: the space contains every published value; else `default` is as near as it comes.
    """
    if best is None:
        return None, "No trial has ended with a value."
    found = f"{metric.name} {best['value']:.4g} by trial {best['trial_id']}"
    if best["state"] != "finished":
        found += f" (which did not finish: it is {best['state']})"
    if default is None:
        return None, f"Best: {found}. The published default was not tried: not compared."
    name = "the published default" + ("" if whole else " (as far as this space contains it)")
    if default["value"] is None or default["state"] != "finished":
        return None, f"Best: {found}. Not compared: {name} is {default['state']}."
    if best["trial_id"] == default["trial_id"]:
        return False, f"Best: {found}, {name}: nothing tried so far beats it."
    better = best["value"] < default["value"]
    if metric.goal == "maximize":
        better = best["value"] > default["value"]
    relation = "better" if better else "no better"
    verdict = f"Best: {found}, {relation} than the {default['value']:.4g} of {name}"
    error = math.hypot(best["error"] or 0.0, default["error"] or 0.0)
    if better and abs(best["value"] - default["value"]) < CLEAR * error:
        verdict += f", but within the noise of the evaluation (standard error {error:.2g})"
    return better, f"{verdict}."


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's content; a reader sees the old or the new."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text)
    draft.replace(path)


class Results(Callback):
    """Keeps the run folder's summary, table and best trial up to date, and losers off the disk."""

    def __init__(self, folder: Path, spec: SearchSpec, name: str) -> None:
        self._folder = folder
        self._spec = spec
        self._name = name
        self._begun: set[str] = set()
        self._ended: dict[str, float] = {}

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Note that a trial runs in this session."""
        self._begun.add(trial.trial_id)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Take in a trial's end."""
        self._ended[trial.trial_id] = time.monotonic()
        self.write(trials)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Take in a trial whose process died once too often."""
        self.on_trial_complete(iteration, trials, trial)

    def write(self, trials: Iterable[Trial], over: bool = False) -> dict[str, Any]:
        """Write everything; returns the summary. `over`: the search is, and so is every trial."""
        records = [
            record(trial, self._spec, self._is_over(trial), _error(trial))
            for trial in sorted(trials, key=lambda trial: trial.trial_id)
        ]
        best = choose_best(records, self._spec.metric)
        if best is not None:
            publish(best, self._folder)
        summary = summarise(records, self._spec, self._name, _protocol(self._folder))
        write_atomically(self._folder / "trials.csv", as_csv(records, self._spec))
        write_atomically(self._folder / "summary.json", json.dumps(summary, indent=1))
        self._tidy(records, over)
        return summary

    def _is_over(self, trial: Trial) -> bool:
        # An interrupted search leaves its running trials TERMINATED, but tells no callback so.
        earlier = trial.status == "TERMINATED" and trial.trial_id not in self._begun
        return earlier or trial.trial_id in self._ended

    def _tidy(self, records: Iterable[Record], over: bool) -> None:
        now = time.monotonic()
        for one in records:
            known = self._ended.get(one["trial_id"], now)
            if one["state"] != "unfinished" and (over or now - known > KEEP_SECONDS):
                for checkpoint in (self._folder / "trials" / one["trial_id"]).glob("checkpoint-*"):
                    shutil.rmtree(checkpoint, ignore_errors=True)


def publish(best: Record, folder: Path) -> None:
    """Make `folder`/best the trial's configuration, checkpoint and sample grid.

    Weights are linked, not copied, where the file system can. A trial whose checkpoint is gone is
    there already.
    """
    trial = folder / "trials" / best["trial_id"]
    checkpoint = trial / str(best["checkpoint"])
    source = json.dumps([best["trial_id"], best["kimg"]])
    target = folder / "best"
    if not (checkpoint / "metadata.json").is_file() or _text(target / ".source") == source:
        return
    draft, old = folder / ".best", folder / ".old-best"
    for left in (draft, old):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(checkpoint, draft / "checkpoint", copy_function=_link)
    config = RunConfig.model_validate(best["config"])
    (draft / "config.yaml").write_text(dump_run_config(config))
    if best["grid"] and (grid := trial / best["grid"]).is_file():
        shutil.copy(grid, draft / "grid.png")
    (draft / ".source").write_text(source)
    if target.exists():
        target.rename(old)
    draft.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def as_csv(records: Sequence[Record], spec: SearchSpec) -> str:
    """The trials as a table: the columns of summary.json, then each searched parameter."""
    names = [parameter.name for parameter in spec.space]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *names])
    for one in records:
        writer.writerow(
            [*(one[key] for key in COLUMNS), *(one["point"].get(name) for name in names)]
        )
    return text.getvalue()


def _default(records: Sequence[Record], spec: SearchSpec) -> tuple[Record | None, bool]:
    """The trial that the search began with, and whether it is the published default in full."""
    start, published = start_point(spec), RunConfig().model_dump()
    for one in records:
        if start and start.items() <= one["point"].items():
            return one, all(one["config"][part] == published[part] for part in PUBLISHED_PARTS)
    return None, False


def _reason(state: str, last: dict[str, Any], config: dict[str, Any]) -> str:
    kimg = f"{last.get('kimg', 0.0):g} of {config['run']['train']['total_kimg']:g} kimg"
    return {
        "finished": f"trained {kimg}",
        "stopped": f"stopped early at {kimg}: not among the best there",
        "unfinished": f"at {kimg}: running, or interrupted there",
    }.get(state, "")


def _error(trial: Trial) -> str:
    if trial.status != "ERROR":
        return ""
    reason = reason_of(trial, {})
    if reason.startswith("out of memory"):
        return reason
    return f"its process died again and again: {reason}"


def _protocol(folder: Path) -> dict[str, Any]:
    text = _text(folder / "best" / "checkpoint" / "metadata.json")
    return dict(json.loads(text).get("protocol", {})) if text else {}


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
