"""Compare searches, arms, trainings and trials whose metric was measured in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastgan_ray.counting import counted
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.names import NO_METRIC, early_name
from fastgan_ray.metrics.protocol import require_same_protocol
from fastgan_ray.report.data.ranking import best_trial, trial_label
from fastgan_ray.report.data.run_folder import Run, Trial, protocol_of, read_run, run_folder
from fastgan_ray.report.data.votes import read_results, votes_of

Entry = dict[str, Any]

MEND = (
    "Only results that were measured in the same way can be compared. An ablation with several "
    "data sets has a result for each data set. Instead of such an ablation, name its trials on one "
    "data set, e.g. RUN/trials/00003. You can also measure generators again, in the same way, with "
    "`fastgan-ray evaluate`."
)
LAST_VALUES = ("memorised", "params_g", "gflop_g", "images_per_second")


def compare(paths: Sequence[Path]) -> list[Entry]:
    """Return an entry for each search, training, trial and arm at `paths`, best first.

    An entry is a dict:
    - "name": the name of the entry.
    - "what": "search", "training", "trial" or "arm".
    - "metric", "goal", "protocol": the metric, and how it was measured.
    - "value", "error", "error_of": the metric's value, its error, and the source of the error (the
      evaluation or the seeds).
    - "trial", "state": the trial that has the value (None for an arm), and the state as text.
    - "default", "default_error": the metric of the published default, only in a search.
    - "memorised", "params_g", "gflop_g", "images_per_second": as in the rows of a trial.
    - "kimg", "hours", "trials": the cost of all trials, and their number.
    - "votes": the result of `votes_of`.
    Unknown values are None. Raise UserError if two entries were measured differently, or if nothing
    at a path has a value.
    """
    entries = [entry for path in paths for entry in _entries(path)]
    protocols = {e["name"]: {"metric": e["metric"], **e["protocol"]} for e in entries}
    require_same_protocol(protocols, MEND)
    sign = 1 if entries[0]["goal"] == "minimize" else -1
    return sorted(entries, key=lambda entry: sign * entry["value"])


def _entries(path: Path) -> list[Entry]:
    """Return the entries of the run or trial at `path`; raise UserError if none has a value."""
    folder = path.resolve()
    run = read_run(run_folder(folder))
    if run["folder"] != str(folder):
        (trial,) = (trial for trial in run["trials"] if trial["trial_id"] == folder.name)
        entries = [_trial_entry(run, trial, str(path))]
    elif run["kind"] == "training":
        entries = [{**_trial_entry(run, run["trials"][0], str(path)), "what": "training"}]
    else:
        entries = _arm_entries(run, path) if run["kind"] == "ablation" else _search_entry(run, path)
    valued = [entry for entry in entries if entry["value"] is not None]
    if not valued and run["metric"]["name"] == NO_METRIC:
        raise UserError(
            f"{path}: nothing was measured (eval.extractor is none), so there is nothing to "
            "compare. Measure the generators with `fastgan-ray evaluate`"
        )
    if not valued:
        raise UserError(f"{path}: no trial has a value of {run['metric']['name']} yet")
    return valued


def _search_entry(run: Run, path: Path) -> list[Entry]:
    """Return a list with an entry for the search: its best trial, and the cost of all trials.

    Return [] if no trial has a value.
    """
    best = best_trial(run)
    if best is None:
        return []
    default = (run["account"] or {}).get("default") or {}
    default_ended = default.get("state") == "finished"  # else its value may be of an early one
    entry = {
        **_trial_entry(run, best, str(path)),
        "what": "search",
        "default": default.get("value") if default_ended else None,
        "default_error": default.get("error") if default_ended else None,
        **_cost(run["trials"]),
    }
    return [entry]


def _arm_entries(run: Run, path: Path) -> list[Entry]:
    """Return an entry for each arm and data set of an ablation, with the mean over seeds."""
    entries, results = [], read_results(Path(run["folder"]))
    for arm in (run["account"] or {"arms": []})["arms"]:
        for part in arm["by_data"]:
            cell = {"arm": arm["name"], "data": part["data"]}
            trials = [trial for trial in run["trials"] if cell.items() <= trial["point"].items()]
            data = f" on {part['data']}" if len(arm["by_data"]) > 1 else ""
            entry = {
                **_entry(run, f"{path}: {arm['name']}{data}", trials, part["data"]),
                "what": "arm",
                "value": part["mean"],
                "error": part["sd"],
                "error_of": counted(part["seeds"], "seed"),
                "state": _count_states(trials),
                "votes": votes_of(results, None, arm["name"], part["data"]),
            }
            entries.append(entry)
    return entries


def _trial_entry(run: Run, trial: Trial, name: str) -> Entry:
    return {
        **_entry(run, name, [trial], trial["point"].get("data", "")),
        "metric": early_name(run["metric"]["name"]) if trial["is_early"] else run["metric"]["name"],
        "what": "trial",
        "value": trial["value"],
        "error": trial["error"],
        "error_of": "the evaluation",
        "trial": trial_label(trial),
        "state": trial["state"],
        "votes": votes_of(read_results(Path(run["folder"])), trial["trial_id"], None),
    }


def _entry(run: Run, name: str, trials: Sequence[Trial], data: str) -> Entry:
    """Return the fields that all types of entries have.

    `name` is the name of the entry. `trials` are its trials, and `data` is their data set.
    """
    last = {key: value for trial in trials for row in trial["rows"] for key, value in row.items()}
    return {
        "name": name,
        "metric": run["metric"]["name"],
        "goal": run["metric"]["goal"],
        "trial": None,
        "default": None,
        "default_error": None,
        **{key: last.get(key) for key in LAST_VALUES},
        **_cost(trials),
        "protocol": protocol_of(run, trials, data),
    }


def _cost(trials: Sequence[Trial]) -> Entry:
    return {
        "kimg": sum(trial["kimg"] for trial in trials),
        "hours": sum(trial["seconds"] for trial in trials) / 3600,
        "trials": len(trials),
    }


def _count_states(trials: Sequence[Trial]) -> str:
    states = [trial["state"] for trial in trials]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
