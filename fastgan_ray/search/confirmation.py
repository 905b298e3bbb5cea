"""The confirmation of a search: train its best trials and the published default with new seeds.

The best value of a search is partly luck: if the same trial is repeated with another seed, its
value is usually worse (the winner's curse). So the verdict uses new seeds. The confirmation is an
ablation. Its baseline is the published default, and its arms are the best trials.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.counting import counted
from fastgan_ray.metrics.names import format_with_error
from fastgan_ray.search.ablation import AblationSpec
from fastgan_ray.search.cost.estimate import kimg_expected
from fastgan_ray.search.file.budget import Confirm
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.search.file.spec import (
    DEFAULT,
    SearchSpec,
    confirmation_kimg,
    run_config,
    start_point,
)
from fastgan_ray.search.statistics import paired_difference

Summary = Mapping[str, Any]
Trial = Mapping[str, Any]

# (number of trials, number of seeds), the preferred size first.
SIZES = ((2, 3), (1, 3), (1, 2))
MAX_SHARE = 0.5  # the largest confirmation, as a share of the search's expected kimg


@dataclass(frozen=True)
class Plan:
    """The size of a confirmation: the number of best trials (`top`) and the number of `seeds`.

    If there is no confirmation, `top` is 0. `kimg` is an upper limit for all trainings of the
    confirmation together, including those of the default. `why` explains the size to the user.
    """

    top: int
    seeds: int
    kimg: float
    why: str


def plan_confirmation(spec: SearchSpec) -> Plan:
    """Choose the size of the confirmation before the search starts.

    The size comes from the file's `confirm`. If the file has no `confirm`, the confirmation takes
    at most half of the kimg that the search is expected to take. If the budget limits the kimg, the
    kimg of the confirmation are reserved.
    """
    if spec.confirm == "off":
        return Plan(0, 0, 0.0, "the file says `confirm: false`")
    if isinstance(spec.confirm, Confirm):
        top, seeds = spec.confirm.top, spec.confirm.seeds
        return Plan(top, seeds, confirmation_kimg(spec, top, seeds), "set by `confirm` in the file")
    expected, limit = kimg_expected(spec), spec.budget.kimg
    for top, seeds in SIZES:
        kimg = confirmation_kimg(spec, top, seeds)
        search_kimg = expected if limit is None else min(expected, limit - kimg)
        if kimg <= MAX_SHARE * search_kimg:
            why = f"at most half of the {search_kimg:.4g} thousand images expected for the search"
            return Plan(top, seeds, kimg, why)
    why = (
        f"even the smallest confirmation (1 trial and the {DEFAULT}, 2 seeds) takes "
        f"{kimg:.4g} thousand images, more than half of the {max(search_kimg, 0):.4g} "
        "thousand images expected for the search"
    )
    return Plan(0, 0, 0.0, why)


def fit_to_budget(spec: SearchSpec, plan: Plan, kimg_left: float) -> Plan:
    """Return `plan`, or a smaller plan that takes at most `kimg_left`; if none fits, `top` is 0."""
    if plan.kimg <= kimg_left:
        return plan
    for seeds in range(plan.seeds, 1, -1):
        kimg = confirmation_kimg(spec, 1, seeds)
        if kimg <= kimg_left:
            why = f"the rest of the budget is enough for {kimg_left:.4g} thousand images"
            return Plan(1, seeds, kimg, why)
    why = f"the rest of the budget is enough for only {kimg_left:.4g} thousand images"
    return Plan(0, 0, 0.0, why)


def top_candidates(spec: SearchSpec, summary: Summary, top: int) -> list[Trial]:
    """Return up to `top` of the best trials, best first; leave out the default and duplicates.

    If no trial has finished, use the trials that were stopped early.
    """
    configs = [_without_seed(spec, default_point(spec, summary))]
    candidates: list[Trial] = []
    for trial in ranked(spec, summary):
        config = _without_seed(spec, trial["point"])
        if config not in configs and len(candidates) < top:
            configs.append(config)
            candidates.append(trial)
    return candidates


def ranked(spec: SearchSpec, summary: Summary) -> list[Trial]:
    """Return the finished trials, the best first; if there are none, the trials stopped early."""
    trials = [trial for trial in summary["trials"] if trial["value"] is not None]
    finished = [trial for trial in trials if trial["state"] == "finished"]
    stopped = [trial for trial in trials if trial["state"] == "stopped"]
    sign = _sign(spec)
    return sorted(finished or stopped, key=lambda trial: (sign * trial["value"], trial["trial_id"]))


def default_trial(summary: Summary) -> Trial | None:
    """Return the search's trial of the published default; None if the search has none."""
    default = summary["default"] or {"trial_id": None}
    trials = (trial for trial in summary["trials"] if trial["trial_id"] == default["trial_id"])
    return next(trials, None)


def default_point(spec: SearchSpec, summary: Summary) -> Mapping[str, Any]:
    """Return the point of the published default.

    If a trial of the search used the default, this is its point. Otherwise the point has all
    parameters that can take their default.
    """
    trial = default_trial(summary)
    return trial["point"] if trial else start_point(spec)


def best_trials(count: int) -> str:
    """Write the number of best trials: "the best trial", "the 2 best trials"."""
    return "the best trial" if count == 1 else f"the {count} best trials"


def arm_name(trial_id: str) -> str:
    """Return the name of the arm that repeats a trial."""
    return f"trial {trial_id}"


def confirmation_spec(
    spec: SearchSpec, summary: Summary, top: int, seeds: Sequence[int], data: str | None
) -> AblationSpec | None:
    """Return the confirmation as an ablation, with its complete text; None if no trial qualifies.

    `data` is the path of the pictures that the trials used. `seeds` must be new: no trial of the
    search has used them. Raise UserError if the default is not a valid run.
    """
    candidates = top_candidates(spec, summary, top)
    if not candidates:
        return None
    arms = {
        DEFAULT: default_point(spec, summary),
        **{arm_name(trial["trial_id"]): trial["point"] for trial in candidates},
    }
    document = {
        "name": "confirm",
        "description": f"The confirmation of the search {summary['name']}.",
        "metric": {"name": spec.metric.name, "goal": spec.metric.goal},
        "baseline": DEFAULT,
        "compare": "best" if all(_keeps_best(spec, point) for point in arms.values()) else "last",
        "seeds": list(seeds),
        "base": _drop_seed(spec.base) | ({} if data is None else {"data.path": data}),
        "arms": {name: _drop_seed(point) for name, point in arms.items()},
    }
    return ablation_from_text(yaml.safe_dump(document, sort_keys=False), "the confirmation")


def used_seeds(spec: SearchSpec, summary: Summary) -> set[int]:
    """Return the seeds that trials of the search have used."""
    return {run_config(spec, trial["point"]).train.seed for trial in summary["trials"]}


def new_seeds(
    spec: SearchSpec, summary: Summary, count: int, started: Sequence[int] = ()
) -> list[int]:
    """Return at least `count` seeds for a confirmation, first those that it has already `started`.

    The others are the smallest seeds, counted from 1, that no trial of the search has used.
    """
    taken = used_seeds(spec, summary) | {*started}
    free = (seed for seed in itertools.count(1) if seed not in taken)
    return [*started, *itertools.islice(free, max(0, count - len(started)))]


def outcome(spec: SearchSpec, summary: Summary, account: Summary) -> dict[str, Any]:
    """Return the entry `confirmation` of summary.json; `account` is the content of ablation.json.

    In the result, `searched` is the name of the arm that repeats the search's best trial, and
    `winner` is the name of the arm with the best mean.
    """
    trials = {arm_name(trial["trial_id"]): trial for trial in summary["trials"]}
    trial_of = {**trials, DEFAULT: default_trial(summary)}
    arms = [_arm(account, arm, trial_of[arm["name"]]) for arm in account["arms"]]
    best_config = _without_seed(spec, ranked(spec, summary)[0]["point"])
    is_default = best_config == _without_seed(spec, default_point(spec, summary))
    unfinished = sum(trial["state"] == "unfinished" for trial in account["trials"])
    sign = _sign(spec)
    best_first = sorted(
        (arm for arm in arms if arm["mean"] is not None),
        key=lambda arm: (-arm["ended_well"], sign * arm["mean"]),
    )
    confirmation = {
        "seeds": account["seeds"],
        "confidence": account["confidence"],
        "baseline": DEFAULT,
        "arms": arms,
        "searched": DEFAULT if is_default else arms[1]["name"],
        "winner": best_first[0]["name"] if best_first and not unfinished else None,
        "unfinished": unfinished,
    }
    return confirmation | {"sentence": sentence(confirmation, spec.metric.name, sign)}


def sentence(confirmation: Mapping[str, Any], metric: str, sign: int) -> str:
    """Write the verdict as a text: is the search's best trial confirmed, and which arm is best?

    `sign` is 1 if lower values of `metric` are better, else -1.
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
        best = f"{_with_article(winner)} has the best mean over"
        best = f"{best} {counted(winner['ended_well'], 'seed')}: {_mean(winner)}."
        parts.append(f"{best[0].upper()}{best[1:]} The folder best/ has its best generator.")
    if searched["mean"] is not None and searched["search_value"] is not None:
        gap = sign * (searched["mean"] - searched["search_value"])
        relation = "better" if gap > 0 else "worse"
        value = f"{_with_article(searched)} had the value {searched['search_value']:.4g}"
        gap_text = f"which is {abs(gap):.2g} {relation} than the confirmed mean"
        parts.append(f"In the search, {value}, {gap_text}.")
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
            names = f"{' and '.join(better)} {'is' if len(better) == 1 else 'are'}"
            return f"Not confirmed: {names} better than the {DEFAULT} in {seeds}."
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
    """Return the numbers of an arm; the arm repeats `search_trial`, a trial of the search."""
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
    }


def _interval(low: float | None, high: float | None) -> list[float] | None:
    return None if low is None or high is None else [low, high]


def _with_article(arm: Mapping[str, Any]) -> str:
    return f"the {DEFAULT}" if arm["name"] == DEFAULT else str(arm["name"])


def _mean(arm: Mapping[str, Any]) -> str:
    return format_with_error(arm["mean"], arm["sd"])


def _sign(spec: SearchSpec) -> int:
    return 1 if spec.metric.goal == "minimize" else -1


def _drop_seed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "train.seed"}


def _keeps_best(spec: SearchSpec, point: Mapping[str, Any]) -> bool:
    return run_config(spec, point).train.keep_best > 0


def _without_seed(spec: SearchSpec, point: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of a point with seed 0, so that comparisons ignore the seed."""
    config = run_config(spec, point)
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": 0})})
