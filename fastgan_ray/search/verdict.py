"""Compute the result of a confirmation: the entry in summary.json, and the verdict as a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.counting import counted
from fastgan_ray.metrics.names import format_with_error
from fastgan_ray.search.confirmation import (
    Summary,
    Trial,
    arm_name,
    confirmation_rules,
    default_point,
    default_trial,
    ended_values,
    ranked,
    sign_of,
    without_seed,
)
from fastgan_ray.search.file.spec import DEFAULT, SearchSpec
from fastgan_ray.search.sequential import ArmResult, Rules, decide
from fastgan_ray.search.statistics import mean_and_sd, paired_difference


def outcome(spec: SearchSpec, summary: Summary, account: Summary) -> dict[str, Any]:
    """Return the entry "confirmation" of a search's summary.json.

    `account` is the content of the confirmation's ablation.json. In the result, "searched" is the
    name of the arm with the search's best trial. "winner" is the name of the best arm (`_winner`);
    it is None while trainings are needed. "trained" is the number of trainings, and "most" is the
    number of trainings if no arm had been decided before its last seed.
    """
    trials = {arm_name(trial["trial_id"]): trial for trial in summary["trials"]}
    trial_of = {**trials, DEFAULT: default_trial(summary)}
    shared = {arm["name"]: arm.get("shared_data", "") for arm in account["arms"]}
    values = ended_values(shared, account["trials"])
    metric, seeds, confidence = spec.metric, account["seeds"], account["confidence"]
    rules = confirmation_rules(
        metric.name, metric.goal, seeds, account["looks"], shared, confidence
    )
    decision = decide(values, rules)
    results = {DEFAULT: ArmResult(seeds=len(values[DEFAULT])), **decision.arms}
    arms = [
        _arm(name, results[name], values[name], trial_of[name], rules) | {"shared_data": data}
        for name, data in shared.items()
    ]
    best_config = without_seed(spec, ranked(spec, summary)[0]["point"])
    is_default = best_config == without_seed(spec, default_point(spec, summary))
    searched = DEFAULT if is_default else arms[1]["name"]
    confirmation = {
        "seeds": seeds,
        "looks": account["looks"],
        "confidence": confidence,
        "baseline": DEFAULT,
        "arms": arms,
        "searched": searched,
        "winner": None if decision.needed else _winner(arms, shared[searched], sign_of(spec)),
        "unfinished": len(decision.needed),
        "trained": sum(map(len, values.values())),
        "most": len(arms) * len(seeds),
    }
    return confirmation | {"sentence": sentence(confirmation, metric.name, sign_of(spec))}


def _winner(arms: Sequence[Mapping[str, Any]], shared_data: str, sign: int) -> str | None:
    """Return the name of the best arm: the fewest failed trainings, then the best mean.

    An arm that was dropped earlier than another cannot win by the luck of its few seeds: only arms
    with as many seeds as the arm with most seeds can win, and arms that are called better than the
    default. Also, the metric must be able to rank an arm with the searched arm, i.e. its
    discriminator must have the same `shared_data`. Return None if no arm has a value.
    """
    most = max(arm["seeds"] for arm in arms)
    candidates = [
        arm
        for arm in arms
        if arm["mean"] is not None
        and arm["shared_data"] == shared_data
        and (arm["seeds"] == most or arm["verdict"] == "better")
    ]
    best_first = sorted(
        candidates, key=lambda arm: (arm["seeds"] - arm["ended_well"], sign * arm["mean"])
    )
    return best_first[0]["name"] if best_first else None


def sentence(confirmation: Mapping[str, Any], metric: str, sign: int) -> str:
    """Return the verdict as a text: is the search's best trial confirmed, and which arm is best?

    `confirmation` is the result of `outcome`, but without the key "sentence". `sign` is 1 if lower
    values of `metric` are better, else -1.
    """
    if count := confirmation["unfinished"]:
        is_left = "is left" if count == 1 else "are left"
        at_least = "at least " if len(confirmation["looks"]) > 1 else ""
        trainings = f"{at_least}{counted(count, 'training')}"
        return f"The confirmation has not ended: {trainings} {is_left}."
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
            "The folder best/ has a generator of this arm."
        )
    if searched["mean"] is not None and searched["search_value"] is not None:
        gap = sign * (searched["mean"] - searched["search_value"])
        relation = "better" if gap > 0 else "worse"
        arm_had_value = f"{_with_article(searched)} had the value {searched['search_value']:.4g}"
        which_is_better_or_worse = f"which is {abs(gap):.2g} {relation} than the confirmed mean"
        parts.append(f"In the search, {arm_had_value}, {which_is_better_or_worse}.")
    if confirmation["trained"] < confirmation["most"]:
        trained, most = confirmation["trained"], counted(confirmation["most"], "training")
        parts.append(f"The confirmation took {trained} of at most {most}.")
    return " ".join(parts)


def _verdict(
    confirmation: Mapping[str, Any],
    searched: Mapping[str, Any],
    winner: Mapping[str, Any],
    metric: str,
) -> str:
    name = searched["name"]
    if name == DEFAULT:
        better = [arm for arm in confirmation["arms"] if arm["verdict"] == "better"]
        if better:
            names, is_or_are = _names(better), "is" if len(better) == 1 else "are"
            new_seeds = counted(max(arm["seeds"] for arm in better), "new seed")
            return (
                f"Not confirmed: the {DEFAULT} was the best trial of the search, but with "
                f"{new_seeds}, {names} {is_or_are} better."
            )
        mean, seeds = f"{metric} {_mean(searched)}", counted(searched["seeds"], "seed")
        if without := [arm for arm in confirmation["arms"] if arm["verdict"] == "no verdict"]:
            notes = f" ({without[0]['note']})" if len(without) == 1 else ""
            return (
                f"Not confirmed: the {DEFAULT} was the best trial of the search, but there is no "
                f"verdict on {_names(without)}{notes}."
            )
        return f"Confirmed: no trial is better than the {DEFAULT} in {seeds} ({mean})."
    relation = {
        "better": "is better than",
        "worse": "is worse than",
        "not better": "is not better than",
        "indistinguishable": "is indistinguishable from",
    }.get(searched["verdict"])
    note = f" ({searched['note']})" if searched["note"] else ""
    if searched["shared_data"] != confirmation["arms"][0]["shared_data"]:
        return f"Not confirmed: {name} cannot be compared with the {DEFAULT}: {searched['note']}."
    if relation is None:
        return f"Not confirmed: there is no verdict on {name}{note}."
    means = f"{metric} {_mean(searched)} against {_mean(confirmation['arms'][0])}"
    seeds = counted(searched["seeds"], "seed")
    result = f"{name} {relation} the {DEFAULT} in {seeds} ({means}){note}."
    if searched["verdict"] != "better":
        return f"Not confirmed: {result}"
    return f"Confirmed{'' if winner is searched else ', but not the best'}: {result}"


def _names(arms: Sequence[Mapping[str, Any]]) -> str:
    return " and ".join(arm["name"] for arm in arms)


def _arm(
    name: str,
    result: ArmResult,
    values: Mapping[int, float | None],
    search_trial: Trial | None,
    rules: Rules,
) -> dict[str, Any]:
    """Return the results of an arm of the confirmation, for the entry in summary.json.

    `values` has the values of the trainings that have ended, by seed. The arm trains `search_trial`
    again. `search_trial` is None if the arm is the published default and the search did not train
    the default.
    """
    by_seed = [values.get(seed) for seed in rules.seeds]
    measured = [value for value in by_seed if value is not None]
    mean, sd = mean_and_sd(measured)
    interval = paired_difference(measured, rules.confidence)  # of the arm's mean
    return {
        "name": name,
        "trial_id": search_trial and search_trial["trial_id"],
        "search_value": search_trial and search_trial["value"],
        "values": by_seed,
        "seeds": len(values),
        "ended_well": len(measured),
        "mean": mean,
        "sd": sd,
        "interval": _interval(interval.low, interval.high),
        "change": result.change,
        "change_interval": _interval(result.low, result.high),
        "p": result.p,
        "verdict": result.verdict,
        "note": result.note,
    }


def _interval(low: float | None, high: float | None) -> list[float] | None:
    return None if low is None or high is None else [low, high]


def _with_article(arm: Mapping[str, Any]) -> str:
    return f"the {DEFAULT}" if arm["name"] == DEFAULT else str(arm["name"])


def _mean(arm: Mapping[str, Any]) -> str:
    return format_with_error(arm["mean"], arm["sd"])
