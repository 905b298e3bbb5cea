"""Rank the trials of a run, and choose their colours and descriptions for all charts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from fastgan_ray.metrics.names import format_with_error
from fastgan_ray.report.data.run_folder import Run, Trial
from fastgan_ray.report.text import label, rounded, settings_text, state_text

COLOURS = 6  # a reader can distinguish this many colours
# Finished trials end with a full evaluation; other trials may have only cheap ones.
STATE_RANKS = {"finished": 0, "stopped": 1, "unfinished": 1}


def ranked(run: Run) -> list[Trial]:
    """Return the trials of a run in the order of the ranking.

    Finished trials come first, then stopped and unfinished trials, then trials without a value.
    Within a group, the best trial comes first.
    """
    sign = 1 if run["metric"]["goal"] == "minimize" else -1

    def key(trial: Trial) -> tuple[int, float, str]:
        if trial["value"] is None:
            return len(STATE_RANKS), 0.0, trial["trial_id"]
        return STATE_RANKS[trial["state"]], sign * trial["value"], trial["trial_id"]

    return sorted(run["trials"], key=key)


def by_data(run: Run) -> dict[str, Run]:
    """Return {data set: the run with the trials on it}, because their values do not compare.

    A run on a single data set is not divided; its key is "".
    """
    names = list(dict.fromkeys(trial["point"].get("data", "") for trial in run["trials"]))
    if run["kind"] != "ablation" or len(names) < 2:
        return {"": run}
    return {
        name: {**run, "trials": [t for t in run["trials"] if t["point"].get("data", "") == name]}
        for name in names
    }


def fully_measured(run: Run) -> list[Trial]:
    """Return the trials with a value of a full evaluation, in the order of the ranking."""
    return [t for t in ranked(run) if t["value"] is not None and not t["is_early"]]


def best_trial(run: Run) -> Trial | None:
    """Return the first trial of the ranking, or None if no trial has a value."""
    first = next(iter(ranked(run)), None)
    return first if first and first["value"] is not None else None


def trial_label(trial: Trial) -> str:
    """Return a trial's id, with a note if the trial used the search's published default."""
    return label(trial["trial_id"], trial["trial_id"] if trial["is_default"] else None)


def trial_colours(run: Run) -> dict[str, str]:
    """Return {trial id: the CSS class of its colour}.

    In a search, the six best trials have the classes c1 to c6, and all other trials have c0. In an
    ablation, the trials of an arm have the arm's class (see `arm_colours`).
    """
    if run["kind"] == "ablation":
        of_arm = arm_colours(run["account"])
        return {
            trial["trial_id"]: of_arm.get(trial["point"].get("arm"), "c0")
            for trial in run["trials"]
        }
    order = [trial["trial_id"] for trial in ranked(run)]
    valued = sum(trial["value"] is not None for trial in run["trials"])
    top = order[: min(COLOURS, valued)]
    return dict.fromkeys(order, "c0") | {name: f"c{rank}" for rank, name in enumerate(top, 1)}


def arm_colours(account: Mapping[str, Any] | None) -> dict[str, str]:
    """Return {arm: the CSS class of its colour}.

    The class of the baseline is "base", i.e. the colour of the text. The classes of the other arms
    are c1 to c6, and then again from c1. `account` is the content of ablation.json.
    """
    if account is None:
        return {}
    names = [arm["name"] for arm in account["arms"]]
    classes = itertools.cycle(f"c{number}" for number in range(1, COLOURS + 1))
    return {name: "base" if name == account["baseline"] else next(classes) for name in names}


def arm_dash(colours: Mapping[str, str], arm: str) -> int:
    """Return the number of an arm's dash pattern, i.e. how many earlier arms have the same colour.

    `colours` is the result of `arm_colours`.
    """
    names = list(colours)
    return sum(colours[name] == colours[arm] for name in names[: names.index(arm)])


def parameter_names(run: Run) -> list[str]:
    """Return the names of the parameters of all trials, in order of first appearance."""
    return list(dict.fromkeys(name for trial in run["trials"] for name in trial["point"]))


def describe_trial(trial: Trial, metric: str) -> str:
    """Return a one-line description of a trial, for tooltips and screen readers."""
    parts = [
        f"trial {trial_label(trial)}: {state_text(trial['state'])} at {trial['kimg']:g} kimg",
        f"{metric} {format_with_error(trial['value'], trial['error'])}",
        settings_text({key: rounded(value) for key, value in trial["point"].items()}),
    ]
    return "; ".join(parts)
