"""Read the results in the folder of a search, an ablation or a training, as plain data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastgan_ray.config.data import DataConfig
from fastgan_ray.config.feature_networks import shared_data_note
from fastgan_ray.config.run_file import load_run_config
from fastgan_ray.data.described import read_described
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.names import (
    best_name,
    early_name,
    fakes_error_name,
    final_value,
    run_metric,
    value_of,
)
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.search.ablation import AblationSpec, arm_config
from fastgan_ray.search.file.read import load_search
from fastgan_ray.search.file.read_ablation import load_ablation
from fastgan_ray.search.file.spec import SearchSpec, base_config

Run = dict[str, Any]
Trial = dict[str, Any]

ACCOUNTS = {"search": "summary.json", "ablation": "ablation.json"}
CHECKPOINT_DEPTH = 3  # the number of levels from a trial's checkpoint folder up to the run's folder
UNKNOWN = {"state": "unfinished", "value": None, "error": None, "kimg": 0.0, "seconds": 0.0}


def read_run(folder: Path) -> Run:
    """Read the current results of a search, an ablation or a training.

    A training is a run with one trial. Raise UserError if `folder` is not the folder of a run.

    A run is {"kind", "name", "folder", "metric": {"name", "goal"}, "account" (the content of
    summary.json or ablation.json; None before the first trial has ended), "trials", "protocols" (by
    data set), "pictures" (a list of `data.described.Described`), "versions"}.

    A trial is {"trial_id", "state", "value", "error", "kimg", "seconds", "reason", "warning",
    "point", "rows", "folder", "is_default" (whether it is the published default of a search),
    "is_early" (whether its value is from a cheap evaluation, see `eval.early_fakes`), "value_kimg"
    (the kimg of the checkpoint that has its value)}.
    "point" has the searched parameters; in an ablation it has "arm", "data" and "seed".
    """
    folder = folder.resolve()
    if holds_training(folder):
        return _read_training(folder)
    kind = next((kind for kind in ACCOUNTS if (folder / f"{kind}.yaml").is_file()), None)
    if kind is None:
        raise UserError(
            f"{folder}: is not the folder of a search, an ablation or a training. It must have "
            "search.yaml, or ablation.yaml, or both config.yaml and metrics.jsonl. Name a folder "
            "under runs/"
        )
    account = _read_json(folder / ACCOUNTS[kind])
    metric = account["metric"] if account else _metric_of_file(kind, folder)
    default = ((account or {}).get("default") or {}).get("trial_id")
    return {
        "kind": kind,
        "name": folder.name,
        "folder": str(folder),
        "metric": metric,
        "account": account,
        "trials": [
            {**trial, "is_default": trial["trial_id"] == default}
            for trial in _trials(folder, account["trials"] if account else [], metric["name"])
        ],
        "pictures": (account or {}).get("pictures", []),
        "protocols": _protocols(folder, account or {}),
        "versions": _read_json(folder / "versions.json") or [],
    }


def holds_training(folder: Path) -> bool:
    """Return whether a folder has the results of a training outside a search or an ablation."""
    return all((folder / name).is_file() for name in ("config.yaml", "metrics.jsonl"))


def _read_training(folder: Path) -> Run:
    config = load_run_config(folder / "config.yaml")
    name, goal = run_metric(config.eval)
    rows = read_rows(folder)
    last = rows[-1] if rows else {}
    finished = last.get("outcome") == "finished"
    kimg, total = last.get("kimg", 0.0), config.train.total_kimg
    record = {
        "state": "finished" if finished else "unfinished",
        "value": final_value(last, name),
        "error": final_value(last, fakes_error_name(name)),
        "kimg": kimg,
        "seconds": last.get("seconds", 0.0),
        "reason": f"{'trained' if finished else 'running or interrupted at'} {kimg:g} of {total:g} "
        "kimg",
        "warning": last.get("warning", ""),
        "point": {},
    }
    trials = [_trial(folder, record, name)]
    run = {
        "kind": "training",
        "name": folder.name,
        "folder": str(folder),
        "metric": {"name": name, "goal": goal},
        "account": None,
        "trials": trials,
        "pictures": read_described(folder),
        "protocols": {},
        "versions": _read_json(folder / "versions.json") or [],
    }
    protocol = protocol_of(run, trials, "")
    return {**run, "protocols": {"": protocol} if protocol else {}}


def latest_picture(trial: Trial, key: str, until: float = math.inf) -> Path | None:
    """Return the path of a trial's newest picture; None if there is none or the file is missing.

    `key` is the key of the picture's path in the trial's rows, e.g. "grid". Pictures after `until`
    kimg are passed over. Only the last two parts
    of this path are used, because the run's folder may have been moved.
    """
    for row in reversed(trial["rows"]):
        if row.get(key) and row["kimg"] <= until:
            path = Path(trial["folder"], *Path(row[key]).parts[-2:])
            return path if path.is_file() else None
    return None


def run_folder(path: Path) -> Path:
    """Return the folder of the run to which `path` belongs.

    `path` is the folder of the run or of one of its trials.
    """
    if holds_training(path):
        return path
    return path.parents[1] if (path / "metrics.jsonl").is_file() else path


def protocol_of(run: Run, trials: Sequence[Trial], data: str) -> dict[str, Any]:
    """Return the protocol of `trials`, i.e. how their metric was measured on the data set `data`.

    The protocol is read from a checkpoint. If no checkpoint has a protocol, it is read from `run`.
    """
    for trial in trials:
        for path in Path(trial["folder"]).glob("checkpoint-*/metadata.json"):
            if protocol := json.loads(path.read_text()).get("protocol"):
                return dict(protocol)
    return dict(run["protocols"].get(data) or run["protocols"].get("") or {})


def shared_note(run: Run) -> str:
    """Return a note if the feature networks of the metric and of D have the same training data.

    Otherwise, return "". `run` is a search or a training.
    """
    protocol = run["protocols"].get("", {})
    return shared_data_note(protocol.get("shared_data", ""))


def searched_metric(path: Path) -> str | None:
    """Return the metric of the search or ablation to which `path` belongs.

    `path` is the folder of the run, of a trial or of a checkpoint. Return None if `path` belongs to
    another kind of run, or if no trial has ended.
    """
    path = path.resolve()
    accounts = (
        _read_json(folder / name)
        for folder in (path, *path.parents[:CHECKPOINT_DEPTH])
        for kind, name in ACCOUNTS.items()
        if (folder / f"{kind}.yaml").is_file()  # else it is the file of another program
    )
    return next((str(account["metric"]["name"]) for account in accounts if account), None)


def training_data(run: Run) -> DataConfig:
    """Return the data settings of a run's trainings.

    For an ablation, return the data settings of its first data set.
    """
    if run["kind"] == "training":
        return load_run_config(Path(run["folder"]) / "config.yaml").data
    spec = _read_file(run["kind"], Path(run["folder"]))
    if isinstance(spec, AblationSpec):
        return arm_config(spec, spec.baseline).data
    return base_config(spec).data


def _metric_of_file(kind: str, folder: Path) -> dict[str, Any]:
    """Return {"name", "goal"} of the metric, from the file of a search or an ablation.

    This function is for a run in which no trial has ended.
    """
    metric = _read_file(kind, folder).metric
    return {"name": metric.name, "goal": metric.goal}


def read_search(folder: Path) -> SearchSpec:
    """Read the search file in a run's folder; raise UserError if the folder has no search."""
    if not (folder / "search.yaml").is_file():
        raise UserError(
            f"{folder}: is not the folder of a search, because it has no search.yaml. Name a "
            "folder that `tune` has made, such as runs/demo."
        )
    spec = _read_file("search", folder)
    assert isinstance(spec, SearchSpec)
    return spec


def _read_file(kind: str, folder: Path) -> SearchSpec | AblationSpec:
    """Read a run's search or ablation file, and apply the overrides of the command line."""
    overrides = _read_json(folder / "overrides.json") or {}
    if kind == "search":
        return load_search(folder / "search.yaml", overrides)
    return load_ablation(folder / "ablation.yaml", overrides["set"], overrides["seeds"])


def _trials(folder: Path, records: Sequence[Mapping[str, Any]], metric: str) -> list[Trial]:
    """Return all trials of a run: the trials in `records`, and trials that have no record yet.

    `records` are the trials in summary.json or ablation.json.
    """
    known = {str(record["trial_id"]): record for record in records}
    started = {path.parent.name for path in folder.glob("trials/*/metrics.jsonl")}
    return [
        _trial(folder / "trials" / name, known.get(name, {}), metric)
        for name in sorted(known.keys() | started)
    ]


def _trial(folder: Path, record: Mapping[str, Any], metric: str) -> Trial:
    """Return a trial with the data of its `record` and of its rows, i.e. its evaluations.

    While the trial runs, the rows are newer than `record`.
    """
    rows = read_rows(folder)
    cell = {key: record[key] for key in ("arm", "data", "seed") if key in record}
    trial = {
        **UNKNOWN,
        "reason": "running or interrupted",
        "warning": "",
        **record,
        "trial_id": folder.name,
        "point": record.get("point", cell),
        "rows": rows,
        "folder": str(folder),
        "is_default": False,
    }
    last = rows[-1] if rows else {}
    if trial["state"] == "unfinished":
        trial["value"] = value_of(last, metric)
        trial |= {key: last[key] for key in ("kimg", "seconds") if key in last}
    is_best = trial["value"] is not None and trial["value"] == last.get(best_name(metric))
    trial["value_kimg"] = last.get(best_name("kimg"), trial["kimg"]) if is_best else trial["kimg"]
    if trial["value"] is not None and trial["error"] is None:
        trial["error"] = (final_value if is_best else value_of)(last, fakes_error_name(metric))
    has_full = not {metric, best_name(metric)}.isdisjoint(last)
    trial["is_early"] = trial["value"] is not None and early_name(metric) in last and not has_full
    return trial


def _protocols(folder: Path, account: Mapping[str, Any]) -> dict[str, Any]:
    """Return {data set: protocol of the metric}; a search has one protocol, with the key ""."""
    protocol = account.get("protocol") or _read_json(folder / "protocol.json") or {}
    if not protocol or all(isinstance(part, dict) for part in protocol.values()):
        return dict(protocol)
    return {"": protocol}


def _read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    return json.loads(path.read_text()) if path.is_file() else None
