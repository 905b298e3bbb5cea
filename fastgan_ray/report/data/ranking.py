"""Which trials stand first, what each is called, and which colour it has in every picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastgan_ray.report.data.run_folder import Run, Trial
from fastgan_ray.report.text import settings_text

COLOURS = 6  # as many as can be told apart
ORDER = ("finished", "stopped", "unfinished")


def ranked(run: Run) -> list[Trial]:
    """The trials, the best first: finished, stopped, running ones, and those without a value."""
    sign = 1 if run["metric"]["goal"] == "minimize" else -1

    def key(trial: Trial) -> tuple[int, float, str]:
        if trial["value"] is None:
            return len(ORDER), 0.0, trial["trial_id"]
        return ORDER.index(trial["state"]), sign * trial["value"], trial["trial_id"]

    return sorted(run["trials"], key=key)


def best(run: Run) -> Trial | None:
    """The first of the ranked, if it has a value."""
    first = next(iter(ranked(run)), None)
    return first if first and first["value"] is not None else None


def colours(run: Run) -> dict[str, str]:
    """A class of the style sheet for each trial: c1 to c6, or c0 for the rest.

    Of a search the first six trials have a colour; of an ablation all of an arm have the same one,
    and the baseline's is the text's.
    """
    if run["kind"] == "ablation":
        of_arm = arm_colours(run["account"])
        return {
            trial["trial_id"]: of_arm.get(trial["point"].get("arm"), "c0")
            for trial in run["trials"]
        }
    top = [trial["trial_id"] for trial in ranked(run) if trial["value"] is not None][:COLOURS]
    return {
        trial["trial_id"]: f"c{top.index(trial['trial_id']) + 1}"
        if trial["trial_id"] in top
        else "c0"
        for trial in run["trials"]
    }


def arm_colours(account: Mapping[str, Any] | None) -> dict[str, str]:
    """The class of each arm of an ablation; seven and more share colours."""
    names = [arm["name"] for arm in account["arms"]] if account else []
    others = [name for name in names if account and name != account["baseline"]]
    return {
        name: f"c{others.index(name) % COLOURS + 1}" if name in others else "base" for name in names
    }


def parameters(run: Run) -> list[str]:
    """The names of all searched parameters, in the order in which trials have them."""
    return list(dict.fromkeys(name for trial in run["trials"] for name in trial["point"]))


def measured(trial: Trial) -> str:
    """Its value with the standard error, as in "213.4 ± 2.1"; "no value" without."""
    if trial["value"] is None:
        return "no value"
    return with_error(trial["value"], trial["error"])


def with_error(value: float, error: float | None) -> str:
    """ "213.4 ± 2.1", or "213.4" where the error is not known."""
    return f"{value:.4g}" + ("" if error is None else f" ± {error:.2g}")


def sentence(trial: Trial, metric: str) -> str:
    """A trial in one line: what is read out, or shown under a pointer."""
    state = trial["state"].replace("_", " ")
    parts = [
        f"trial {trial['trial_id']}: {state} at {trial['kimg']:g} kimg",
        f"{metric} {measured(trial)}",
        settings_text({key: rounded(value) for key, value in trial["point"].items()}),
    ]
    return "; ".join(parts)


def rounded(value: object) -> object:
    """A parameter's value as a person reads it: numbers to four digits."""
    return float(f"{value:.4g}") if isinstance(value, float) else value
