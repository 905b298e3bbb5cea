"""A search's confirmation: its best trials and the published default, trained anew.

The best of many noisy values is too good to be true (the winner's curse), so the verdict comes from
fresh seeds: an ablation whose baseline is the default and whose arms are the best trials.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.search.ablation import AblationSpec, ablation_from_text
from fastgan_ray.search.cost.estimate import kimg_expected
from fastgan_ray.search.file.budget import Confirm
from fastgan_ray.search.file.spec import SearchSpec, confirmation_kimg, run_config, start_point
from fastgan_ray.search.statistics import paired_difference

Summary = Mapping[str, Any]

DEFAULT = "published default"  # the baseline's name
# (trials, seeds) from what is best to what is least.
SIZES = ((2, 3), (1, 3), (1, 2))
SHARE = 0.5  # of the kimg that the search is expected to take


@dataclass(frozen=True)
class Plan:
    """How many of the best trials are trained anew beside the default, and with how many seeds.

    `top` is 0 where nothing is; `kimg` is what all of it takes at most. `why` is said to the user.
    """

    top: int
    seeds: int
    kimg: float
    why: str


def plan_confirmation(spec: SearchSpec) -> Plan:
    """What the file's `confirm` says, or the most that takes at most half of the search's images.

    Of a budget in kimg the confirmation takes its part beforehand.
    """
    if spec.confirm == "off":
        return Plan(0, 0, 0.0, "the file says `confirm: false`")
    if isinstance(spec.confirm, Confirm):
        top, seeds = spec.confirm.top, spec.confirm.seeds
        return Plan(top, seeds, confirmation_kimg(spec, top, seeds), "as the file's `confirm` says")
    expected, limit = kimg_expected(spec), spec.budget.kimg
    for top, seeds in SIZES:
        kimg = confirmation_kimg(spec, top, seeds)
        left = expected if limit is None else min(expected, limit - kimg)
        if kimg <= SHARE * left:
            why = f"at most half of the {left:.4g} that the search is expected to take"
            return Plan(top, seeds, kimg, why)
    why = f"the least, 1 trial and {DEFAULT} with 2 seeds, takes {kimg:.4g} thousand images, more "
    return Plan(0, 0, 0.0, f"{why}than half of the {max(left, 0):.4g} that the search is to take")


def fit_to_budget(spec: SearchSpec, plan: Plan, kimg_left: float) -> Plan:
    """`plan`, or the largest one below it that takes at most `kimg_left`; else with `top` 0."""
    smaller = [(1, seeds) for seeds in range(plan.seeds, 1, -1)]
    for top, seeds in [(plan.top, plan.seeds), *smaller]:
        kimg = confirmation_kimg(spec, top, seeds)
        if kimg <= kimg_left:
            if (top, seeds) == (plan.top, plan.seeds):
                return plan
            return Plan(top, seeds, kimg, f"what the budget's rest of {kimg_left:.4g} allows")
    return Plan(0, 0, 0.0, f"the budget's rest is enough for {kimg_left:.4g} thousand images only")


def top_candidates(spec: SearchSpec, summary: Summary, top: int) -> list[Mapping[str, Any]]:
    """The best trials, the best first, at most `top`; none is the default or another's double.

    Trials that were only stopped are among them if no trial has finished at all.
    """
    known = [_unseeded(spec, default_point(spec, summary))]
    found: list[Mapping[str, Any]] = []
    for one in ranked(spec, summary):
        config = _unseeded(spec, one["point"])
        if config not in known and len(found) < top:
            known.append(config)
            found.append(one)
    return found


def ranked(spec: SearchSpec, summary: Summary) -> list[Mapping[str, Any]]:
    """The finished trials, or the stopped ones if there is none, the search's best first."""
    valued = [one for one in summary["trials"] if one["value"] is not None]
    finished = [one for one in valued if one["state"] == "finished"]
    stopped = [one for one in valued if one["state"] == "stopped"]
    sign = _sign(spec)
    return sorted(finished or stopped, key=lambda one: (sign * one["value"], one["trial_id"]))


def default_trial(summary: Summary) -> Mapping[str, Any] | None:
    """The search's own trial of the default, if it has one."""
    default = summary["default"]
    same = (one for one in summary["trials"] if default and one["trial_id"] == default["trial_id"])
    return next(same, None)


def default_point(spec: SearchSpec, summary: Summary) -> Mapping[str, Any]:
    """The published default as far as the space contains it: the search's trial of it, if any."""
    trial = default_trial(summary)
    return trial["point"] if trial else start_point(spec)


def arm_name(trial_id: str) -> str:
    """What a trial is called as an arm."""
    return f"trial {trial_id}"


def confirmation_spec(
    spec: SearchSpec, summary: Summary, top: int, seeds: int, data: str | None
) -> AblationSpec | None:
    """The confirmation as an ablation, whose text says all of it; None without a contender.

    `data` is the pictures' path as the trials had it. No seed is one that the search trained with.
    UserError if the default is no valid run.
    """
    found = top_candidates(spec, summary, top)
    if not found:
        return None
    base = {key: value for key, value in spec.base.items() if key != "train.seed"}
    arms = {
        DEFAULT: default_point(spec, summary),
        **{arm_name(x["trial_id"]): x["point"] for x in found},
    }
    document = {
        "name": "confirm",
        "description": f"The confirmation of the search {summary['name']}.",
        "metric": {"name": spec.metric.name, "goal": spec.metric.goal},
        "baseline": DEFAULT,
        "seeds": fresh_seeds(spec, summary, seeds),
        "base": base | ({} if data is None else {"data.path": data}),
        "arms": {
            name: {key: value for key, value in point.items() if key != "train.seed"}
            for name, point in arms.items()
        },
    }
    return ablation_from_text(yaml.safe_dump(document, sort_keys=False), "the confirmation")


def fresh_seeds(spec: SearchSpec, summary: Summary, count: int) -> list[int]:
    """The first seeds that no trial of the search was trained with."""
    used = {run_config(spec, one["point"]).train.seed for one in summary["trials"]}
    return list(itertools.islice((n for n in itertools.count(1) if n not in used), count))


def outcome(spec: SearchSpec, summary: Summary, account: Summary) -> dict[str, Any]:
    """What summary.json says under `confirmation`; `account` is the confirmation's ablation.json.

    `searched` names the arm of the search's best trial, `winner` the best one on average.
    """
    default = default_trial(summary)
    trials = {arm_name(one["trial_id"]): one for one in summary["trials"]}
    told = {**trials, DEFAULT: default}
    arms = [_arm(account, arm, told[arm["name"]]) for arm in account["arms"]]
    first, base = ranked(spec, summary)[0]["point"], default_point(spec, summary)
    doubles = _unseeded(spec, first) == _unseeded(spec, base)
    searched = DEFAULT if doubles else arms[1]["name"]
    waiting = sum(one["state"] == "unfinished" for one in account["trials"])
    sign = _sign(spec)
    order = sorted(
        (arm for arm in arms if arm["mean"] is not None),
        key=lambda arm: (-arm["ended_well"], sign * arm["mean"]),
    )
    found = {
        "seeds": account["seeds"],
        "confidence": account["confidence"],
        "baseline": DEFAULT,
        "arms": arms,
        "searched": searched,
        "winner": order[0]["name"] if order and not waiting else None,
        "unfinished": waiting,
    }
    return found | {"sentence": sentence(found, spec.metric.name, sign)}


def sentence(found: Mapping[str, Any], metric: str, sign: int) -> str:
    """The verdict in words: whether the search's best held up, and what is better if not."""
    if found["unfinished"]:
        return f"Its confirmation has not ended: {found['unfinished']} trainings are left."
    arms = {arm["name"]: arm for arm in found["arms"]}
    searched, winner = arms[found["searched"]], arms.get(found["winner"] or "")
    if winner is None:
        return "Not confirmed: no training of the confirmation ended with a value."
    parts = [_held_up(found, searched, winner, metric)]
    if winner is not searched:
        name = f"the {DEFAULT}" if winner["name"] == DEFAULT else winner["name"]
        better = f"On average over {winner['ended_well']} seeds {name} is the best"
        parts.append(f"{better}: {_mean(winner)}; best/ is the best of its generators.")
    if searched["mean"] is not None and searched["search_value"] is not None:
        gap = sign * (searched["mean"] - searched["search_value"])
        measured = f"The search had measured {searched['search_value']:.4g} for it"
        relation = "too good by" if gap > 0 else "too bad by"
        parts.append(f"{measured}, {relation} {abs(gap):.2g}.")
    return " ".join(parts)


def _held_up(
    found: Mapping[str, Any], searched: Mapping[str, Any], winner: Mapping[str, Any], metric: str
) -> str:
    name, seeds = searched["name"], len(found["seeds"])
    if name == DEFAULT:
        better = [arm["name"] for arm in found["arms"] if arm["verdict"] == "better"]
        if better:
            are = "is" if len(better) == 1 else "are"
            names = " and ".join(better)
            return f"Did not hold up: {names} {are} better than the {DEFAULT} in {seeds} seeds."
        stays = f"The {DEFAULT}, the search's best, stays: nothing was better in {seeds} seeds"
        return f"{stays} ({metric} {_mean(searched)})."
    against = f"{metric} {_mean(searched)} against {_mean(found['arms'][0])}"
    relation = {
        "better": "is better than",
        "worse": "is worse than",
        "indistinguishable": "is indistinguishable from",
    }.get(searched["verdict"])
    if relation is None:
        return f"Not confirmed: {name} has no verdict against the {DEFAULT}: {searched['note']}."
    said = f"{name} {relation} the {DEFAULT} in {seeds} seeds ({against})."
    if searched["verdict"] != "better":
        return f"Did not hold up: {said}"
    return f"Confirmed: {said}" if winner is searched else f"Confirmed, but not as the best: {said}"


def _arm(
    account: Summary, arm: Mapping[str, Any], trial: Mapping[str, Any] | None
) -> dict[str, Any]:
    """One arm's numbers; `trial` is the search's own."""
    own = {one["seed"]: one for one in account["trials"] if one["arm"] == arm["name"]}
    values = [own[seed]["value"] if own[seed]["state"] == "finished" else None for seed in own]
    measured = [value for value in values if value is not None]
    mean_interval = paired_difference(measured, account["confidence"])  # from 0
    compared = arm["comparison"] or {}
    spread = arm["by_data"][0]
    return {
        "name": arm["name"],
        "trial_id": trial and trial["trial_id"],
        "search_value": trial and trial["value"],
        "values": values,
        "ended_well": len(measured),
        "mean": spread["mean"],
        "sd": spread["sd"],
        "interval": _pair(mean_interval.low, mean_interval.high),
        "difference": compared.get("mean"),
        "difference_interval": _pair(compared.get("low"), compared.get("high")),
        "p_holm": compared.get("p_holm"),
        "verdict": compared.get("verdict", ""),
        "note": compared.get("note", ""),
    }


def _pair(low: float | None, high: float | None) -> list[float] | None:
    return None if low is None or high is None else [low, high]


def _mean(arm: Mapping[str, Any]) -> str:
    if arm["mean"] is None:
        return "no value"
    return f"{arm['mean']:.4g}" + ("" if arm["sd"] is None else f" ± {arm['sd']:.2g}")


def _sign(spec: SearchSpec) -> int:
    return 1 if spec.metric.goal == "minimize" else -1


def _unseeded(spec: SearchSpec, point: Mapping[str, Any]) -> RunConfig:
    """The configuration of a point, whatever its seed."""
    config = run_config(spec, point)
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": 0})})
