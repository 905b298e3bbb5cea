"""What is known of a search while it runs: a plain dict, changed by pure functions.

state = new_state("demo", "fid5k_full", "minimize", total_trials=8, total_kimg=40, now=0)
state = observe(state, trial, now=12.5, result={"kimg": 4, "fid5k_full": 213.0})
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, Literal

from fastgan_ray.metrics.names import value_of
from fastgan_ray.tune.ray.compat import LOW_ON_MEMORY, TrialLike, last_failure

State = dict[str, Any]
ENDED = ("finished", "stopped", "diverged", "out_of_memory", "failed")
OUT_OF_MEMORY = "out of memory"
LONGEST_REASON = 160
UNKNOWN = {
    "state": "",
    "kimg": 0.0,
    "value": None,
    "images_per_second": None,
    "began": None,
    "seen": None,
}
BAD_ENDS = ("diverged", "out_of_memory", "failed")


def point_of(trial: TrialLike) -> dict[str, Any]:
    """The searched values of a trial, as flat dotted keys."""
    return dict(trial.config.get("point", {}))


def run_of(trial: TrialLike) -> dict[str, Any]:
    """The whole configuration of a trial, nested as a RunConfig."""
    return dict(trial.config.get("run", {}))


def cell_of(trial: TrialLike) -> dict[str, Any]:
    """Of an ablation's trial its arm, data set and seed; of a search's, whose fields all have a
    dot, nothing."""
    return {name: value for name, value in point_of(trial).items() if "." not in name}


def state_word(status: str, result: Mapping[str, Any], total_kimg: float) -> str:
    """A trial's state in one word: "pending", "running" or one of `ENDED`.

    `status` is Tune's; a trial that ended before `total_kimg` was stopped by the scheduler.
    """
    if status == "ERROR":
        return "out_of_memory" if "out of memory" in str(result.get("reason")) else "failed"
    if status != "TERMINATED":
        return "running" if status == "RUNNING" else "pending"
    if result.get("outcome") in ENDED:
        return str(result["outcome"])
    return "finished" if result.get("kimg", 0.0) >= total_kimg else "stopped"


def reason_of(trial: TrialLike, result: Mapping[str, Any]) -> str:
    """Why a trial ended, as it reported or from the traceback of its process; may be empty."""
    text = "" if result.get("reason") else last_failure(trial)
    if not text:
        return str(result.get("reason") or "")
    if LOW_ON_MEMORY in text:
        return f"{OUT_OF_MEMORY}: Ray ended the process because its machine was low on memory"
    return textwrap.shorten(text.split("\n")[-1], LONGEST_REASON, placeholder=" ...")


def new_state(
    name: str,
    metric: str,
    goal: Literal["minimize", "maximize"],
    total_trials: int | None,
    total_kimg: float,
    now: float,
) -> State:
    """The state before any trial. `now` is seconds of any clock that does not jump."""
    return {
        "name": name,
        "metric": metric,
        "goal": goal,
        "total_trials": total_trials,
        "total_kimg": total_kimg,
        "started": now,
        "budget": "",  # what is used of it, and how long the rest lasts
        "seconds_left": None,
        "trials": {},
    }


def observe(
    state: State,
    trial: TrialLike,
    now: float,
    result: Mapping[str, Any] | None = None,
    status: str | None = None,
) -> State:
    """The state after looking at a trial, with a result or status that Tune has not stored yet."""
    stored = trial.last_result if trial.has_reported_at_least_once else {}
    result = {**stored, **(result or {})}
    name = trial.trial_id
    old = state["trials"].get(name, UNKNOWN)
    row = {
        "id": name,
        "point": point_of(trial),
        "total_kimg": run_of(trial).get("train", {}).get("total_kimg", state["total_kimg"]),
        "kimg": result.get("kimg", old["kimg"]),
        "value": value_of(result, state["metric"], old["value"]),
        "images_per_second": result.get("images_per_second", old["images_per_second"]),
        "reason": reason_of(trial, result),
    }
    told = {**result, "reason": row["reason"]}
    row["state"] = state_word(status or trial.status, told, row["total_kimg"])
    if old["state"] in ENDED and status is None:
        row["state"] = old["state"]  # Tune sets TERMINATED only after it has told us
    begins = row["state"] == "running" != old["state"]
    row["began"] = (now, row["kimg"]) if begins else old["began"]
    row["seen"] = now if row["kimg"] != old["kimg"] else old["seen"]
    row["credit"] = share(row) if old is UNKNOWN else old["credit"]
    return {**state, "trials": {**state["trials"], name: row}}


def best_of(state: State) -> str | None:
    """The id of the trial with the best last value: a finished, else a stopped, else a running one.

    The order of summary.json, so that the two agree at every moment.
    """
    sign = 1 if state["goal"] == "minimize" else -1
    ranks = {"finished": 0, "stopped": 1, "running": 2}
    keys = {
        name: (ranks[row["state"]], sign * row["value"], name)
        for name, row in state["trials"].items()
        if row["value"] is not None and row["state"] in ranks
    }
    return min(keys, key=keys.__getitem__, default=None)


def trial_eta(row: Mapping[str, Any], now: float) -> float | None:
    """Seconds until a running trial reaches its total, at its pace since it began (or resumed)."""
    if row["state"] != "running" or row["kimg"] <= row["began"][1]:
        return None
    began, first_kimg = row["began"]
    pace = (row["seen"] - began) / (row["kimg"] - first_kimg)
    return float(max(0.0, (row["total_kimg"] - row["kimg"]) * pace - (now - row["seen"])))


def search_eta(state: State, now: float) -> float | None:
    """Seconds until the last trial ends, at the pace so far; None while that is unknown."""
    rows = state["trials"].values()
    done = sum(share(row) for row in rows)
    here = done - sum(row["credit"] for row in rows)
    if state["total_trials"] is None or here <= 0:
        return None
    return float(max(0.0, (now - state["started"]) * (state["total_trials"] - done) / here))


def share(row: Mapping[str, Any]) -> float:
    """How much of a trial is done, 0 to 1; one that ended early is all done."""
    return 1.0 if row["state"] in ENDED else min(1.0, row["kimg"] / row["total_kimg"])
