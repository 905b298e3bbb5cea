"""A run's folder, as it is on the disk, as plain data for whoever shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastgan_ray.errors import UserError
from fastgan_ray.metrics.names import fakes_error_name, value_of
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.search.ablation import load_ablation
from fastgan_ray.search.file.spec import load_search

Run = dict[str, Any]
Trial = dict[str, Any]

ACCOUNTS = {"search": "summary.json", "ablation": "ablation.json"}
DEPTH = 3  # of a trial's checkpoint in its run's folder
UNKNOWN = {"state": "unfinished", "value": None, "error": None, "kimg": 0.0, "seconds": 0.0}


def read_run(folder: Path) -> Run:
    """What a search or an ablation has left so far; UserError if `folder` is neither's.

    {"kind", "name", "folder", "metric": {"name", "goal"}, "account" (of summary.json or
    ablation.json, or None before the first trial has ended), "trials", "protocols" (by data set),
    "versions"}. A trial is {"trial_id", "state", "value", "error", "kimg", "seconds", "reason",
    "warning", "point", "rows", "folder"}; of an ablation's the point is arm, data and seed.
    """
    folder = folder.resolve()
    kind = next((kind for kind in ACCOUNTS if (folder / f"{kind}.yaml").is_file()), None)
    if kind is None:
        raise UserError(
            f"{folder}: neither a search nor an ablation (there is no search.yaml or ablation.yaml "
            "in it); name a folder under runs/"
        )
    account = _json(folder / ACCOUNTS[kind])
    metric = account["metric"] if account else _metric(kind, folder)
    return {
        "kind": kind,
        "name": folder.name,
        "folder": str(folder),
        "metric": metric,
        "account": account,
        "trials": _trials(folder, account["trials"] if account else [], metric["name"]),
        "protocols": _protocols(folder, account or {}),
        "versions": _json(folder / "versions.json") or [],
    }


def searched_metric(path: Path) -> str | None:
    """The metric of the search or ablation that `path` lies in (or is), if it has an account."""
    whole = path.resolve()
    accounts = (
        _json(folder / account)
        for folder in (whole, *whole.parents[:DEPTH])
        for account in ACCOUNTS.values()
    )
    return next((str(found["metric"]["name"]) for found in accounts if found), None)


def _metric(kind: str, folder: Path) -> dict[str, Any]:
    """The metric of a run of which nothing has ended."""
    choices = _json(folder / "overrides.json") or {}
    if kind == "search":
        metric = load_search(folder / "search.yaml", choices).metric
    else:
        path = folder / "ablation.yaml"
        metric = load_ablation(path, choices["set"], choices["seeds"]).metric
    return {"name": metric.name, "goal": metric.goal}


def _trials(folder: Path, told: Sequence[Mapping[str, Any]], metric: str) -> list[Trial]:
    """The trials of the account, and those that have begun since."""
    known = {str(one["trial_id"]): one for one in told}
    begun = {path.parent.name for path in folder.glob("trials/*/metrics.jsonl")}
    return [
        _trial(folder / "trials" / name, known.get(name, {}), metric)
        for name in sorted(known.keys() | begun)
    ]


def _trial(folder: Path, told: Mapping[str, Any], metric: str) -> Trial:
    """One trial; as long as it runs, its rows know more than the account."""
    rows = read_rows(folder)
    cell = {key: told[key] for key in ("arm", "data", "seed") if key in told}
    trial = {
        **UNKNOWN,
        "reason": "running, or interrupted",
        "warning": "",
        **told,
        "trial_id": folder.name,
        "point": told.get("point", cell),
        "rows": rows,
        "folder": str(folder),
    }
    last = rows[-1] if rows else {}
    if trial["state"] == "unfinished":
        trial["value"] = value_of(last, metric)
        trial |= {key: last[key] for key in ("kimg", "seconds") if key in last}
    if trial["value"] is not None and trial["error"] is None:
        trial["error"] = value_of(last, fakes_error_name(metric))
    return trial


def _protocols(folder: Path, account: Mapping[str, Any]) -> dict[str, Any]:
    """The metric's protocol by data set; the name is "" where there is only one."""
    found = account.get("protocol") or _json(folder / "protocol.json") or {}
    if not found or all(isinstance(one, dict) for one in found.values()):
        return dict(found)
    return {"": found}


def _json(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    return json.loads(path.read_text()) if path.is_file() else None
