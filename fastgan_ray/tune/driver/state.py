"""The state of a running search, as a plain dict: states of trials, the best, ETA.

state = new_state("demo", "fid5k_full", "minimize", total_trials=8, total_kimg=40, now=0)
state = observe(state, trial, now=12.5, result={"kimg": 4, "fid5k_full": 213.0})
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, Literal

from fastgan_ray.config.feature_networks import shared_data_of
from fastgan_ray.metrics.names import final_value
from fastgan_ray.search.expected import EXPECTED
from fastgan_ray.tune.ray.compat import LOW_ON_MEMORY, TrialLike, last_failure

State = dict[str, Any]
BAD_ENDS = ("diverged", "out_of_memory", "failed")
ENDED = ("finished", "stopped", *BAD_ENDS)
OUT_OF_MEMORY = "out of memory"
MAX_REASON = 160  # characters
# The state of a trial that the driver has no data about yet.
UNKNOWN = {
    "state": "",
    "kimg": 0.0,
    "value": None,
    "images_per_second": None,
    "start": None,
    "last_report": None,
}


def point_of(trial: TrialLike) -> dict[str, Any]:
    """Return the values of a trial's searched parameters, by the parameters' dotted names."""
    return dict(trial.config.get("point", {}))


def run_of(trial: TrialLike) -> dict[str, Any]:
    """Return the configuration of a trial as nested dicts, with the keys of a RunConfig."""
    return dict(trial.config.get("run", {}))


def state_word(status: str, result: Mapping[str, Any], total_kimg: float) -> str:
    """Return a trial's state: "pending", "running" or one of `ENDED`.

    `status` is Ray's status of the trial, and `result` is the trial's last result. If Ray has
    ended the trial, but `result` does not say how it ended, the trial's length decides: the state
    is "finished" if the trial has reached `total_kimg`, otherwise "stopped".
    """
    if status == "ERROR":
        return "out_of_memory" if OUT_OF_MEMORY in str(result.get("reason")) else "failed"
    if status != "TERMINATED":
        return "running" if status == "RUNNING" else "pending"
    if result.get("outcome") in ENDED:
        return str(result["outcome"])
    return "finished" if result.get("kimg", 0.0) >= total_kimg else "stopped"


def reason_of(trial: TrialLike, result: Mapping[str, Any]) -> str:
    """Return why a trial ended; "" if this is unknown.

    `result` is the trial's last result. If `result` has no reason, return the last line of the
    traceback with which the trial's process died.
    """
    text = "" if result.get("reason") else last_failure(trial)
    if not text:
        return str(result.get("reason") or "")
    if LOW_ON_MEMORY in text:
        return f"{OUT_OF_MEMORY}: Ray ended the process because its machine was low on memory"
    return textwrap.shorten(text.split("\n")[-1], MAX_REASON, placeholder=" ...")


def new_state(
    name: str,
    metric: str,
    goal: Literal["minimize", "maximize"],
    total_trials: int | None,
    total_kimg: float,
    now: float,
    default: Mapping[str, Any] | None = None,
    grid_points: int | None = None,
) -> State:
    """Return the state of a search before its first trial.

    `metric` is the metric's name in the trials' results. `total_trials` is None if there is no
    limit. `total_kimg` is the length of trials whose configuration does not set a length. `now` is
    the time in seconds on a monotonic clock. `default` has the parameter values of the published
    default. `grid_points` is the number of points of a grid search.
    """
    return {
        "name": name,
        "metric": metric,
        "goal": goal,
        "total_trials": total_trials,
        "total_kimg": total_kimg,
        "default": dict(default or {}),
        "grid_points": grid_points,
        "over": False,  # True if no more trials will start
        "start": now,
        "budget": "",  # a line that says how much of the budget is used
        "seconds_left": None,  # seconds until the budget is used up; None if unknown
        "trials": {},
    }


def observe(
    state: State,
    trial: TrialLike,
    now: float,
    result: Mapping[str, Any] | None = None,
    status: str | None = None,
) -> State:
    """Return the state with the row of `trial` updated.

    `now` is the time in seconds on the clock of `state`. If `result` or `status` is given, it is
    used in place of the older value in `trial`.
    """
    stored = trial.last_result if trial.has_reported_at_least_once else {}
    result = {**stored, **(result or {})}
    name = trial.trial_id
    old = state["trials"].get(name, UNKNOWN)
    reason = reason_of(trial, result)
    run = run_of(trial)
    row = {
        "id": name,
        "point": point_of(trial),
        "total_kimg": run.get("train", {}).get("total_kimg", state["total_kimg"]),
        "shared_data": shared_data_of(run),  # see config/feature_networks.py
        "kimg": result.get("kimg", old["kimg"]),
        "value": final_value(result, state["metric"], old["value"]),
        "images_per_second": result.get("images_per_second", old["images_per_second"]),
        "reason": reason,
    }
    if old["state"] in ENDED and status is None:
        row["state"] = old["state"]  # Ray sets TERMINATED only after it calls the callbacks
    else:
        outcome = {**result, "reason": reason}
        row["state"] = state_word(status or trial.status, outcome, row["total_kimg"])
    starts = row["state"] == "running" != old["state"]
    row["start"] = (now, row["kimg"]) if starts else old["start"]
    row["last_report"] = now if row["kimg"] != old["kimg"] else old["last_report"]
    row["share_before"] = share_done(row) if old is UNKNOWN else old["share_before"]
    return {**state, "trials": {**state["trials"], name: row}}


def with_predictions(state: State, records: Mapping[str, Mapping[str, Any]]) -> State:
    """Return the state with the keys in `EXPECTED` of each trial's record, if there is a record.

    `records` are records of trials by trial id.
    """
    trials = {
        name: {**row, **{key: records[name].get(key) for key in EXPECTED if name in records}}
        for name, row in state["trials"].items()
    }
    return {**state, "trials": trials}


def best_of(state: State) -> str | None:
    """Return the name of the trial with the best value; None if no trial has a value.

    A finished trial ranks above all other trials, because its value comes from a full evaluation.
    summary.json uses the same order.
    """
    sign = 1 if state["goal"] == "minimize" else -1
    ranks = {"finished": 0, "stopped": 1, "running": 1, "pending": 1, "unfinished": 1}
    keys = {
        name: (ranks[row["state"]], sign * row["value"], name)
        for name, row in state["trials"].items()
        if row["value"] is not None and row["state"] in ranks
    }
    return min(keys, key=keys.__getitem__, default=None)


def default_of(state: State) -> str | None:
    """Return the name of the trial at the published default; None if there is no such trial.

    If the search space excludes the default value of a parameter, state["default"] may lack this
    parameter. Then several trials may match state["default"]; the first of them is returned.
    """
    default = state["default"].items()
    names = (name for name, row in state["trials"].items() if default <= row["point"].items())
    return min(names, default=None) if default else None


def trial_eta(row: Mapping[str, Any], now: float) -> float | None:
    """Return the estimated seconds until a running trial ends; None if this is unknown.

    `row` is the trial's row in the state. The estimate assumes that the trial continues at its
    speed since its start or its last resume.
    """
    if row["state"] != "running" or row["kimg"] <= row["start"][1]:
        return None
    start, first_kimg = row["start"]
    seconds_per_kimg = (row["last_report"] - start) / (row["kimg"] - first_kimg)
    left = (row["total_kimg"] - row["kimg"]) * seconds_per_kimg - (now - row["last_report"])
    return float(max(0.0, left))


def search_eta(state: State, now: float) -> float | None:
    """Return the estimated seconds until the last trial ends; None if this is unknown.

    The estimate assumes that the search continues at its speed so far. But it is never shorter than
    the estimate of a running trial (see `trial_eta`). The result is also None if no process runs
    the search any more.
    """
    rows = state["trials"].values()
    is_stopped = any(row["state"] == "unfinished" for row in rows)
    done = sum(share_done(row) for row in rows)
    done_now = done - sum(row["share_before"] for row in rows)  # since the driver started
    if state["total_trials"] is None or done_now <= 0 or is_stopped:
        return None
    left = (now - state["start"]) * (state["total_trials"] - done) / done_now
    etas = [eta for row in rows if (eta := trial_eta(row, now)) is not None]
    return float(max([0.0, left, *etas]))


def share_done(row: Mapping[str, Any]) -> float:
    """Return the fraction of a trial that is done, from 0 to 1; 1 if the trial has ended."""
    return 1.0 if row["state"] in ENDED else min(1.0, row["kimg"] / row["total_kimg"])
