"""Plan the confirmation of a search: how many trials and seeds, which trials, which seeds.

The best value of a search is partly luck: the same trial with another seed usually has a worse
value (the winner's curse). So the verdict on a search uses new seeds. A confirmation is an
ablation. Its baseline is the published default, and its other arms are the best trials. The seeds
are trained one after another, and arms that are decided get no further seeds (`sequential.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from fastgan_ray.config.feature_networks import why_not_ranked
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.search.ablation import AblationSpec
from fastgan_ray.search.cost.estimate import kimg_expected
from fastgan_ray.search.expected import by_expected
from fastgan_ray.search.file.budget import Confirm
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.search.file.spec import (
    DEFAULT,
    SearchSpec,
    confirmation_kimg,
    run_config,
    start_point,
)
from fastgan_ray.search.luck import prior_of
from fastgan_ray.search.sequential import Rules
from fastgan_ray.search.statistics import Goal

Summary = Mapping[str, Any]
Trial = Mapping[str, Any]

# (number of trials, number of seeds), the preferred size first.
SIZES = ((2, 3), (1, 3), (1, 2))
MAX_SHARE = 0.5  # the largest confirmation, as a share of the search's expected kimg


@dataclass(frozen=True)
class Plan:
    """The largest size of a confirmation: numbers of best trials (`top`) and of seeds.

    If there is no confirmation, `top` is 0. `kimg` is an upper limit for all trainings of the
    confirmation together, including the trainings of the default. `why` tells the user the reason
    for this size.
    """

    top: int
    seeds: int
    kimg: float
    why: str


def plan_confirmation(spec: SearchSpec) -> Plan:
    """Choose the size of the confirmation before the search starts.

    The key `confirm` in the file sets the size. Without this key, the confirmation takes at most
    half of the kimg that the search is expected to take. If the budget limits the kimg, the
    confirmation's kimg are reserved in the budget.
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
            why = f"at most half of the {search_kimg:.4g} thousand images expected in the search"
            return Plan(top, seeds, kimg, why)
    why = (
        f"even the smallest confirmation (1 trial and the {DEFAULT}, 2 seeds) takes "
        f"{kimg:.4g} thousand images, more than half of the {max(search_kimg, 0):.4g} "
        "thousand images expected in the search"
    )
    return Plan(0, 0, 0.0, why)


def fit_to_budget(spec: SearchSpec, plan: Plan, kimg_left: float) -> Plan:
    """Return `plan`, or a smaller plan, so that the confirmation takes at most `kimg_left` kimg.

    If even the smallest plan takes more, `top` of the result is 0.
    """
    if plan.kimg <= kimg_left:
        return plan
    fewer_arms = [(top, plan.seeds) for top in range(plan.top - 1, 0, -1)]
    fewer_seeds = [(1, seeds) for seeds in range(plan.seeds - 1, 1, -1)]
    for top, seeds in (*fewer_arms, *fewer_seeds):
        kimg = confirmation_kimg(spec, top, seeds)
        if kimg <= kimg_left:
            why = f"the budget has {kimg_left:.4g} thousand images left"
            return Plan(top, seeds, kimg, why)
    why = f"the budget has only {kimg_left:.4g} thousand images left"
    return Plan(0, 0, 0.0, why)


def top_candidates(spec: SearchSpec, summary: Summary, top: int) -> list[Trial]:
    """Return the `top` best trials, the best first, which a confirmation trains again.

    A trial is left out if its configuration, apart from the seed, equals the published default or
    the configuration of a better trial. So the result may have fewer than `top` trials. If no trial
    has finished, the trials that were stopped early are used.
    """
    configs = [without_seed(spec, default_point(spec, summary))]
    candidates: list[Trial] = []
    for trial in ranked(spec, summary):
        config = without_seed(spec, trial["point"])
        if config not in configs and len(candidates) < top:
            configs.append(config)
            candidates.append(trial)
    return candidates


def best_left_out(spec: SearchSpec, summary: Summary, arms: Sequence[str]) -> str:
    """Return the id of the trial with the best value if none of the arms has its configuration.

    Otherwise, and if no trial has a value, return "".
    """
    if summary["best"] is None:
        return ""
    points = {trial["trial_id"]: trial["point"] for trial in summary["trials"]}
    best = str(summary["best"]["trial_id"])
    trained = [point for trial_id, point in points.items() if arm_name(trial_id) in arms]
    trained.append(default_point(spec, summary))
    config = without_seed(spec, points[best])
    return "" if config in [without_seed(spec, point) for point in trained] else best


def ranked(spec: SearchSpec, summary: Summary) -> list[Trial]:
    """Return the finished trials, the best first; if there are none, the trials stopped early.

    The order is that of the expected value of a new training (see `by_expected`), because the luck
    of a trial does not carry over to new trainings.
    """
    trials = [trial for trial in summary["trials"] if trial["value"] is not None]
    finished = [trial for trial in trials if trial["state"] == "finished"]
    stopped = [trial for trial in trials if trial["state"] == "stopped"]
    return by_expected(spec, finished or stopped)


def default_trial(summary: Summary) -> Trial | None:
    """Return the trial that used the published default, or None if the search has no such trial."""
    default = summary["default"] or {"trial_id": None}
    trials = (trial for trial in summary["trials"] if trial["trial_id"] == default["trial_id"])
    return next(trials, None)


def default_point(spec: SearchSpec, summary: Summary) -> Mapping[str, Any]:
    """Return the point (the values of the searched parameters) of the published default.

    This is the point of the trial that used the default. If the search has no such trial, it is the
    point of the space that is nearest to the defaults (see `start_point`).
    """
    trial = default_trial(summary)
    return trial["point"] if trial else start_point(spec)


def sign_of(spec: SearchSpec) -> int:
    """Return 1 if lower values of the search's metric are better, else -1."""
    return 1 if spec.metric.goal == "minimize" else -1


def without_seed(spec: SearchSpec, point: Mapping[str, Any]) -> RunConfig:
    """Return the configuration at `point` with seed 0, so that comparisons ignore the seed."""
    config = run_config(spec, point)
    return config.model_copy(update={"train": config.train.model_copy(update={"seed": 0})})


def best_trials(count: int) -> str:
    """Return "the best trial" if `count` is 1, otherwise e.g. "the 2 best trials"."""
    return "the best trial" if count == 1 else f"the {count} best trials"


def arm_name(trial_id: str) -> str:
    """Return the name of the arm that trains a trial again, e.g. "trial 00003"."""
    return f"trial {trial_id}"


def confirmation_spec(
    spec: SearchSpec, summary: Summary, top: int, seeds: Sequence[int], data: str | None
) -> AblationSpec | None:
    """Return the ablation that confirms a search; None if there is no trial to confirm.

    The ablation is written as the text of an ablation file, and read from this text. `top` is the
    number of best trials. `seeds` must be new, i.e. no trial of the search has used them. `data` is
    the path of the pictures that the trials used. Raise UserError if the published default is not a
    valid configuration.
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


def confirmation_rules(
    metric: str,
    goal: Goal,
    seeds: Sequence[int],
    looks: Sequence[int],
    shared_data: Mapping[str, str],
    confidence: float,
) -> Rules:
    """Return how a confirmation decides.

    `looks` are the numbers of seeds after which it decides. `shared_data` maps each arm, including
    the published default, to the result of `feature_networks.shared_data` for its discriminator.
    """
    why = {arm: why_not_ranked(data, shared_data[DEFAULT]) for arm, data in shared_data.items()}
    return Rules(
        baseline=DEFAULT,
        goal=goal,
        seeds=seeds,
        looks=looks,
        prior=prior_of(metric),
        confidence=confidence,
        apart={arm: reason for arm, reason in why.items() if reason},
    )


def ended_values(
    arms: Iterable[str], trials: Iterable[Trial]
) -> dict[str, dict[int, float | None]]:
    """Return {arm: {seed: value}} of the trainings of a confirmation that have ended.

    `trials` are the trials in the confirmation's ablation.json; trials of other arms than `arms`,
    which are no longer among the best, are left out. The value of a failed training is None.
    """
    values: dict[str, dict[int, float | None]] = {arm: {} for arm in arms}
    for trial in trials:
        if trial["arm"] in values and trial["state"] not in ("unfinished", "stopped"):
            is_finished = trial["state"] == "finished"
            values[trial["arm"]][trial["seed"]] = trial["value"] if is_finished else None
    return values


def used_seeds(spec: SearchSpec, summary: Summary) -> set[int]:
    """Return the seeds that trials of the search have used."""
    return {run_config(spec, trial["point"]).train.seed for trial in summary["trials"]}


def new_seeds(
    spec: SearchSpec, summary: Summary, count: int, started: Sequence[int] = ()
) -> list[int]:
    """Return `count` seeds for a confirmation: the seeds in `started`, then new seeds.

    `started` has the seeds with which the confirmation has already started. A search that has
    continued since may have used some of them; they are left out. New seeds are the smallest
    numbers, from 1, that no trial of the search has used.
    """
    used = used_seeds(spec, summary)
    kept = [seed for seed in started if seed not in used]
    free = (seed for seed in itertools.count(1) if seed not in {*used, *started})
    return [*kept, *itertools.islice(free, max(0, count - len(kept)))]


def _drop_seed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "train.seed"}


def _keeps_best(spec: SearchSpec, point: Mapping[str, Any]) -> bool:
    return run_config(spec, point).train.keep_best > 0
