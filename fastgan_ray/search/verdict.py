"""Compute the result of a confirmation: the entry in summary.json, and the verdict as a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastgan_ray.counting import counted
from fastgan_ray.metrics.names import format_with_error
from fastgan_ray.search.confirmation import (
    Summary,
    Trial,
    arm_name,
    default_point,
    default_trial,
    ranked,
    sign_of,
    without_seed,
)
from fastgan_ray.search.file.spec import DEFAULT, SearchSpec
from fastgan_ray.search.statistics import paired_difference


def outcome(spec: SearchSpec, summary: Summary, account: Summary) -> dict[str, Any]:
    """Return the entry "confirmation" of a search's summary.json.

    `account` is the content of the confirmation's ablation.json. In the result, "searched" is the
    name of the arm with the search's best trial. "winner" is the name of the best arm: the arm with
    the fewest failed trainings, and among several such arms, the arm with the best mean. An arm can
    win only if the metric can rank it with the arm "searched" (see `shared_data`). "winner" is None
    while trainings are unfinished.
    """
    trials = {arm_name(trial["trial_id"]): trial for trial in summary["trials"]}
    trial_of = {**trials, DEFAULT: default_trial(summary)}
    arms = [_arm(account, arm, trial_of[arm["name"]]) for arm in account["arms"]]
    best_config = without_seed(spec, ranked(spec, summary)[0]["point"])
    is_default = best_config == without_seed(spec, default_point(spec, summary))
    unfinished = sum(trial["state"] == "unfinished" for trial in account["trials"])
    sign, searched = sign_of(spec), DEFAULT if is_default else arms[1]["name"]
    # Arms whose metric shares training data with D's features are ranked only with each other.
    shared = next(arm["shared_data"] for arm in arms if arm["name"] == searched)
    best_first = sorted(
        (arm for arm in arms if arm["mean"] is not None and arm["shared_data"] == shared),
        key=lambda arm: (-arm["ended_well"], sign * arm["mean"]),
    )
    confirmation = {
        "seeds": account["seeds"],
        "confidence": account["confidence"],
        "baseline": DEFAULT,
        "arms": arms,
        "searched": searched,
        "winner": best_first[0]["name"] if best_first and not unfinished else None,
        "unfinished": unfinished,
    }
    return confirmation | {"sentence": sentence(confirmation, spec.metric.name, sign)}


def sentence(confirmation: Mapping[str, Any], metric: str, sign: int) -> str:
    """Return the verdict as a text: is the search's best trial confirmed, and which arm is best?

    `confirmation` is the result of `outcome`, but without the key "sentence". `sign` is 1 if lower
    values of `metric` are better, else -1.
    """
    if count := confirmation["unfinished"]:
        is_left = "is left" if count == 1 else "are left"
        return f"The confirmation has not ended: {counted(count, 'training')} {is_left}."
    arms = {arm["name"]: arm for arm in confirmation["arms"]}
    searched, winner = arms[confirmation["searched"]], arms.get(confirmation["winner"] or "")
    if winner is None:
        return "Not confirmed: no training of the confirmation ended with a value."
    parts = [_verdict(confirmation, searched, winner, metric)]
    if winner is not searched:
        winner_is_best = f"{_with_article(winner)} has the best mean over"
        seeds_and_mean = f"{counted(winner['ended_well'], 'seed')}: {_mean(winner)}."
        parts.append(
            f"{winner_is_best[0].upper()}{winner_is_best[1:]} {seeds_and_mean} "
            "The folder best/ has the best generator of this arm."
        )
    if searched["mean"] is not None and searched["search_value"] is not None:
        gap = sign * (searched["mean"] - searched["search_value"])
        relation = "better" if gap > 0 else "worse"
        arm_had_value = f"{_with_article(searched)} had the value {searched['search_value']:.4g}"
        which_is_better_or_worse = f"which is {abs(gap):.2g} {relation} than the confirmed mean"
        parts.append(f"In the search, {arm_had_value}, {which_is_better_or_worse}.")
    return " ".join(parts)


def _verdict(
    confirmation: Mapping[str, Any],
    searched: Mapping[str, Any],
    winner: Mapping[str, Any],
    metric: str,
) -> str:
    name, seeds = searched["name"], counted(len(confirmation["seeds"]), "seed")
    if name == DEFAULT:
        better = [arm["name"] for arm in confirmation["arms"] if arm["verdict"] == "better"]
        if better:
            better_arms, is_or_are = " and ".join(better), "is" if len(better) == 1 else "are"
            new_seeds = counted(len(confirmation["seeds"]), "new seed")
            return (
                f"Not confirmed: the {DEFAULT} was the best trial of the search, but with "
                f"{new_seeds}, {better_arms} {is_or_are} better."
            )
        mean = f"{metric} {_mean(searched)}"
        return f"Confirmed: no trial is better than the {DEFAULT} in {seeds} ({mean})."
    relation = {
        "better": "is better than",
        "worse": "is worse than",
        "indistinguishable": "is indistinguishable from",
    }.get(searched["verdict"])
    if relation is None:
        return f"Not confirmed: {name} cannot be compared with the {DEFAULT}: {searched['note']}."
    means = f"{metric} {_mean(searched)} against {_mean(confirmation['arms'][0])}"
    result = f"{name} {relation} the {DEFAULT} in {seeds} ({means})."
    if searched["verdict"] != "better":
        return f"Not confirmed: {result}"
    return f"Confirmed{'' if winner is searched else ', but not the best'}: {result}"


def _arm(account: Summary, arm: Mapping[str, Any], search_trial: Trial | None) -> dict[str, Any]:
    """Return the results of an arm of the confirmation, for the entry in summary.json.

    `arm` is the arm's entry in `account`. The arm trains `search_trial` again. `search_trial` is
    None if the arm is the published default and the search did not train the default.
    """
    trials = [trial for trial in account["trials"] if trial["arm"] == arm["name"]]
    values = [trial["value"] if trial["state"] == "finished" else None for trial in trials]
    measured = [value for value in values if value is not None]
    interval = paired_difference(measured, account["confidence"])  # of the arm's mean
    comparison, spread = arm["comparison"] or {}, arm["by_data"][0]
    return {
        "name": arm["name"],
        "trial_id": search_trial and search_trial["trial_id"],
        "search_value": search_trial and search_trial["value"],
        "values": values,
        "ended_well": len(measured),
        "mean": spread["mean"],
        "sd": spread["sd"],
        "interval": _interval(interval.low, interval.high),
        "difference": comparison.get("mean"),
        "difference_interval": _interval(comparison.get("low"), comparison.get("high")),
        "p_holm": comparison.get("p_holm"),
        "verdict": comparison.get("verdict", ""),
        "note": comparison.get("note", ""),
        "shared_data": arm.get("shared_data", ""),
    }


def _interval(low: float | None, high: float | None) -> list[float] | None:
    return None if low is None or high is None else [low, high]


def _with_article(arm: Mapping[str, Any]) -> str:
    return f"the {DEFAULT}" if arm["name"] == DEFAULT else str(arm["name"])


def _mean(arm: Mapping[str, Any]) -> str:
    return format_with_error(arm["mean"], arm["sd"])
