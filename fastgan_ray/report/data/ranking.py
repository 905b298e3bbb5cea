"""The order of a run's trials, and the colour and description that each has in every chart."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from fastgan_ray.metrics.names import format_with_error
from fastgan_ray.report.data.run_folder import Run, Trial
from fastgan_ray.report.text import rounded, settings_text, state_text

COLOURS = 6  # a reader can tell so many apart
STATE_ORDER = ("finished", "stopped", "unfinished")


def ranked(run: Run) -> list[Trial]:
    """Sort the trials, best first: finished, stopped, unfinished, then those without a value."""
    sign = 1 if run["metric"]["goal"] == "minimize" else -1

    def key(trial: Trial) -> tuple[int, float, str]:
        if trial["value"] is None:
            return len(STATE_ORDER), 0.0, trial["trial_id"]
        return STATE_ORDER.index(trial["state"]), sign * trial["value"], trial["trial_id"]

    return sorted(run["trials"], key=key)


def best_trial(run: Run) -> Trial | None:
    """Return the first ranked trial, or None if no trial has a value."""
    first = next(iter(ranked(run)), None)
    return first if first and first["value"] is not None else None


def trial_colours(run: Run) -> dict[str, str]:
    """Give each trial a class of the style sheet: c1 to c6, or c0 for the rest.

    In a search the six best trials have a colour. In an ablation all trials of an arm share one,
    and the baseline has the colour of the text.
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
    """Give each arm of an ablation a class; from the seventh arm on colours repeat."""
    if account is None:
        return {}
    names = [arm["name"] for arm in account["arms"]]
    classes = itertools.cycle(f"c{number}" for number in range(1, COLOURS + 1))
    return {name: "base" if name == account["baseline"] else next(classes) for name in names}


def arm_dash(colours: Mapping[str, str], arm: str) -> int:
    """Return how many earlier arms have the colour of `arm`; its line has other dashes."""
    names = list(colours)
    return sum(colours[name] == colours[arm] for name in names[: names.index(arm)])


def parameter_names(run: Run) -> list[str]:
    """List all searched parameters, in the order in which trials have them."""
    return list(dict.fromkeys(name for trial in run["trials"] for name in trial["point"]))


def describe_trial(trial: Trial, metric: str) -> str:
    """Describe a trial in one line, for a tooltip and for screen readers."""
    parts = [
        f"trial {trial['trial_id']}: {state_text(trial['state'])} at {trial['kimg']:g} kimg",
        f"{metric} {format_with_error(trial['value'], trial['error'])}",
        settings_text({key: rounded(value) for key, value in trial["point"].items()}),
    ]
    return "; ".join(parts)
