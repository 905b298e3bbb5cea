"""Runs and trials side by side, where one protocol makes their numbers comparable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastgan_ray.errors import UserError
from fastgan_ray.metrics.protocol import require_same_protocol
from fastgan_ray.report.data.ranking import best, with_error
from fastgan_ray.report.data.run_folder import Run, Trial, read_run
from fastgan_ray.report.text import count

Entry = dict[str, Any]

MEND = (
    "Their numbers say nothing about each other. Name those that were measured alike (of an "
    "ablation on several data sets single trials, as in RUN/trials/00003), or measure generators "
    "alike with `fastgan-ray evaluate`."
)


def compare(paths: Sequence[Path]) -> list[Entry]:
    """An entry for each search, each arm of an ablation and each trial, the best first.

    {"name", "what", "metric", "value", "error", "error_of" (what the ± is: of the evaluation, or of
    seeds), "trial", "state", "default", "default_error", "memorised", "params_g", "gflop_g",
    "images_per_second", "kimg", "hours", "trials", "protocol"}; None where it is not known.
    UserError where two were not measured alike, or one has no value yet.
    """
    found = [entry for path in paths for entry in entries(path)]
    require_same_protocol(
        {one["name"]: {"metric": one["metric"], **one["protocol"]} for one in found}, MEND
    )
    sign = 1 if found[0]["goal"] == "minimize" else -1
    return sorted(found, key=lambda one: sign * one["value"])


def entries(path: Path) -> list[Entry]:
    """The entries of a run's or a trial's folder; UserError if it is neither, or has no value."""
    if (path / "metrics.jsonl").is_file():
        run = read_run(path.resolve().parent.parent)
        (trial,) = (one for one in run["trials"] if one["trial_id"] == path.resolve().name)
        found = [_of_trial(run, trial, str(path))]
    else:
        run = read_run(path)
        found = _of_ablation(run, path) if run["kind"] == "ablation" else [_of_search(run, path)]
    valued = [one for one in found if one["value"] is not None]
    if not valued:
        raise UserError(f"{path}: nothing in it has a value of {run['metric']['name']} yet")
    return valued


def lines(found: Sequence[Entry]) -> list[tuple[str, list[str]]]:
    """The entries as rows of a table: a heading, and a text for each entry."""
    metric = found[0]["metric"]
    rows = {
        "what": [one["what"] for one in found],
        metric: [with_error(one["value"], one["error"]) for one in found],
        "± of": [one["error_of"] for one in found],
        "trial": [_text(one["trial"]) for one in found],
        "state": [one["state"].replace("_", " ") for one in found],
        "published default": [
            "" if one["default"] is None else with_error(one["default"], one["default_error"])
            for one in found
        ],
        "memorised": [_text(one["memorised"], "{:.1%}") for one in found],
        "parameters": ["" if not one["params_g"] else count(one["params_g"]) for one in found],
        "GFLOP/image": [_text(one["gflop_g"], "{:.3g}") for one in found],
        "images/s": [_text(one["images_per_second"], "{:.1f}") for one in found],
        "kimg": [_text(one["kimg"], "{:.4g}") for one in found],
        "hours of training": [_text(one["hours"], "{:.3g}") for one in found],
        "trials": [_text(one["trials"]) for one in found],
    }
    return [(name, texts) for name, texts in rows.items() if any(texts)]


def _of_search(run: Run, path: Path) -> Entry:
    """A search by its best trial, with what the whole of it took."""
    first = best(run)
    if first is None:
        return {"value": None}
    default = (run["account"] or {}).get("default") or {}
    return {
        **_of_trial(run, first, str(path)),
        "what": "search",
        "default": default.get("value"),
        "default_error": default.get("error"),
        **_spent(run["trials"]),
    }


def _of_ablation(run: Run, path: Path) -> list[Entry]:
    """An ablation's arms by their means over seeds."""
    found = []
    for arm in (run["account"] or {"arms": []})["arms"]:
        for part in arm["by_data"]:
            cell = {"arm": arm["name"], "data": part["data"]}
            own = [trial for trial in run["trials"] if cell.items() <= trial["point"].items()]
            data = f" on {part['data']}" if len(arm["by_data"]) > 1 else ""
            entry = _entry(run, f"{path}: {arm['name']}{data}", own, part["data"])
            entry |= {"what": "arm", "value": part["mean"], "error": part["sd"]}
            found.append(entry | {"error_of": f"{part['seeds']} seeds", "state": _states(own)})
    return found


def _of_trial(run: Run, trial: Trial, name: str) -> Entry:
    entry = _entry(run, name, [trial], trial["point"].get("data", ""))
    return entry | {
        "what": "trial",
        "value": trial["value"],
        "error": trial["error"],
        "error_of": "the evaluation",
        "trial": trial["trial_id"],
        "state": trial["state"],
    }


def _entry(run: Run, name: str, trials: Sequence[Trial], data: str) -> Entry:
    """What the trials have in common: the newest of what their rows tell."""
    last = {key: value for one in trials for row in one["rows"] for key, value in row.items()}
    told = ("memorised", "params_g", "gflop_g", "images_per_second")
    return {
        "name": name,
        "metric": run["metric"]["name"],
        "goal": run["metric"]["goal"],
        "trial": None,
        "default": None,
        "default_error": None,
        **{key: last.get(key) for key in told},
        **_spent(trials),
        "protocol": _protocol(run, trials, data),
    }


def _spent(trials: Sequence[Trial]) -> Entry:
    return {
        "kimg": sum(trial["kimg"] for trial in trials),
        "hours": sum(trial["seconds"] for trial in trials) / 3600,
        "trials": len(trials),
    }


def _protocol(run: Run, trials: Sequence[Trial], data: str) -> dict[str, Any]:
    """Of the trials' own checkpoint where it is left, else of the run on that data set."""
    for trial in trials:
        for path in Path(trial["folder"]).glob("checkpoint-*/metadata.json"):
            if found := json.loads(path.read_text()).get("protocol"):
                return dict(found)
    known = run["protocols"]
    return dict(known.get(data) or known.get("") or {})


def _states(trials: Sequence[Trial]) -> str:
    names = dict.fromkeys(trial["state"] for trial in trials)
    return ", ".join(f"{sum(t['state'] == name for t in trials)} {name}" for name in names)


def _text(value: float | str | None, form: str = "{}") -> str:
    return "" if value is None else form.format(value)
