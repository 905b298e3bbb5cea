"""What a search has found: summary.json, trials.csv and the folder of its best trial."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.run_file import dump_run_config
from fastgan_ray.files import atomic, link_tree, write_atomically
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.search.file.spec import SearchSpec, start_point
from fastgan_ray.search.pareto import front_of
from fastgan_ray.tune.driver.records import Record, TrialRecords

# The sections in which the published FastGAN has its say; the others are the user's.
PUBLISHED_PARTS = ("model", "augment", "train")
COLUMNS = ("trial_id", "state", "value", "error", "num_fakes", "kimg", "seconds", "reason")
CLEAR = 2.0  # standard errors of a difference that evaluation noise hardly explains


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
    beats, verdict = compare_with_default(best, default, spec.metric, whole)
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
            "source": source_of(best),
        },
        "default": default
        and {key: default[key] for key in ("trial_id", "value", "error", "state")},
        "best_beats_default": beats,
        "verdict": verdict,
        "confirmation": None,
        "budget": {},
        "front": front_of(records, (spec.metric, *spec.costs)),
        "trials": [
            {key: one[key] for key in (*COLUMNS, "warning", "point", "costs")} for one in records
        ],
    }


def compare_with_default(
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


class Results(TrialRecords):
    """Keeps the run folder's summary, table and best trial up to date, and losers off the disk."""

    def __init__(self, folder: Path, spec: SearchSpec) -> None:
        super().__init__(folder, spec.metric.name)
        self._spec = spec

    def publish(self, records: list[Record], over: bool) -> dict[str, Any]:
        """Write summary.json, trials.csv and best/; returns the summary."""
        best = choose_best(records, self._spec.metric)
        if best is not None:
            keep_best({**best, "source": source_of(best)}, self.folder)
        summary = summarise(records, self._spec, self.folder.name, _protocol(self.folder))
        write_atomically(self.folder / "trials.csv", as_csv(records, self._spec))
        write_atomically(self.folder / "summary.json", json.dumps(summary, indent=1))
        return summary


def keep_best(best: Mapping[str, Any], folder: Path) -> None:
    """Make `folder`/best the configuration, checkpoint and sample grid of the trial at "source".

    Weights are linked, not copied, where the file system can. A trial whose checkpoint is gone is
    there already.
    """
    trial = folder / best["source"]
    checkpoint = trial / str(best["checkpoint"])
    source = json.dumps([best["source"], best["kimg"]])
    target = folder / "best"
    if not (checkpoint / "metadata.json").is_file() or _text(target / ".source") == source:
        return
    with atomic(target) as draft:
        link_tree(checkpoint, draft / "checkpoint")
        config = RunConfig.model_validate(best["config"])
        (draft / "config.yaml").write_text(dump_run_config(config))
        if best["grid"] and (grid := trial / best["grid"]).is_file():
            shutil.copy(grid, draft / "grid.png")
        (draft / ".source").write_text(source)


def source_of(best: Record) -> str:
    """A search's trial's folder, in that of the search."""
    return f"trials/{best['trial_id']}"


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


def _protocol(folder: Path) -> dict[str, Any]:
    text = _text(folder / "best" / "checkpoint" / "metadata.json")
    return dict(json.loads(text).get("protocol", {})) if text else {}


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
