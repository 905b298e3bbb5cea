"""Run the confirmation of a search: an ablation with new seeds; put the winner into best/.

The confirmation is an ablation in a subfolder of the search's folder. Its arms are the
configurations of the best trials and the published default. At the end, the search's folder best/
gets the checkpoint of the winning arm's best training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastgan_ray.config.feature_networks import shared_data_of
from fastgan_ray.counting import counted
from fastgan_ray.errors import UserError
from fastgan_ray.files import write_atomically
from fastgan_ray.metrics.names import MOMENTS, fakes_error_name, final_value, value_of
from fastgan_ray.report.data.ablation import CONFIDENCE
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.search.ablation import AblationSpec, arm_config, cell_config, cells
from fastgan_ray.search.confirmation import (
    Plan,
    best_left_out,
    confirmation_rules,
    confirmation_spec,
    ended_values,
    new_seeds,
)
from fastgan_ray.search.file.budget import Budget
from fastgan_ray.search.file.spec import DEFAULT, SearchSpec
from fastgan_ray.search.repeats import configuration_key
from fastgan_ray.search.sequential import Rules, decide, looks_one_by_one
from fastgan_ray.search.verdict import outcome
from fastgan_ray.tune.ablation import ablation_of
from fastgan_ray.tune.driver.budget import BudgetTracker
from fastgan_ray.tune.driver.results import keep_best
from fastgan_ray.tune.driver.run_experiment import run_and_follow_up
from fastgan_ray.tune.driver.terminal import say
from fastgan_ray.tune.experiment import ExperimentContext, Summary
from fastgan_ray.tune.preflight import absolute_paths
from fastgan_ray.tune.rounds.folder import (
    FOLDER,
    confirmation_size,
    earlier_trials,
    is_started,
    start,
    summary_of,
    trains_all_seeds,
)
from fastgan_ray.tune.rounds.search_best import restore_search_best, save_search_best
from fastgan_ray.tune.rounds.trainings import RoundRecords, RoundSearcher, order_of
from fastgan_ray.tune.storage.sync import DriverSync, fetch_run


def confirm_search(
    spec: SearchSpec,
    plan: Plan,
    summary: Summary,
    folder: Path,
    context: ExperimentContext,
    seeds: Sequence[int] = (),
) -> Summary:
    """Run the trainings of a confirmation that have not run yet; return the search's new summary.

    `folder` is the search's folder. `summary` must be the search's summary without a confirmation.
    The new summary has the confirmation's outcome, and is also written to summary.json. The folder
    best/ is updated.

    `plan` has the number of best trials and the number of seeds. If a confirmation has already
    started with more trials or more seeds, its numbers are used instead.

    If `seeds` is not empty, exactly these seeds are trained, all of them. If `seeds` is empty, the
    seeds of the existing confirmation are used, and new ones are added until there are
    `plan.seeds`. In this case, the seeds are trained one after another, until each arm has a
    verdict or is dropped. The exception is a confirmation whose seeds the user has named before:
    all its seeds are trained.
    """
    confirmation_folder = folder / FOLDER
    storage = context.storage.below(FOLDER) if context.storage else None
    if storage:
        fetch_run(storage, confirmation_folder)
    # A confirmation that has started never becomes smaller.
    started_top, started_seeds = confirmation_size(confirmation_folder)
    top = max(plan.top, started_top)
    all_at_once = bool(seeds) or trains_all_seeds(confirmation_folder)
    seeds = seeds or new_seeds(spec, summary, plan.seeds, started_seeds)
    looks = [len(seeds)] if all_at_once else looks_one_by_one(len(seeds))
    if not top and spec.confirm == "off":
        return _publish(folder, summary)
    ablation = _ablation(spec, plan, summary, top, seeds)
    if isinstance(ablation, str):
        return _publish(folder, {**summary, "confirmation": _no_confirmation(ablation)})
    rules = _rules(ablation, looks)
    best = best_left_out(spec, summary, list(ablation.arms))
    say(context.console, _announcement(ablation, plan, rules, confirmation_folder, best))
    sync = DriverSync(storage, confirmation_folder) if storage else None
    context = replace(context, storage=storage, sync=sync)
    trained = _train(ablation, rules, confirmation_folder, f"{folder.name}-{FOLDER}", context)
    if sync:
        sync.send()
    return apply_outcome(spec, plan, summary, ablation, trained, folder)


def _rules(ablation: AblationSpec, looks: Sequence[int]) -> Rules:
    """Return how a confirmation decides; `looks` are the numbers of seeds after which it does."""
    configs = {arm: arm_config(ablation, arm).model_dump() for arm in ablation.arms}
    shared = {arm: shared_data_of(config) for arm, config in configs.items()}
    metric = ablation.metric
    return confirmation_rules(metric.name, metric.goal, ablation.seeds, looks, shared, CONFIDENCE)


def _announcement(ablation: AblationSpec, plan: Plan, rules: Rules, folder: Path, best: str) -> str:
    """Return the text to print before a confirmation starts or continues.

    `folder` is the folder of the confirmation. `best` is the search's trial with the best value if
    it is not trained again, otherwise empty.
    """
    count, trials = len(ablation.arms) * len(ablation.seeds), summary_of(folder)["trials"]
    done = sum(trial["state"] != "unfinished" for trial in trials)
    if not decide(ended_values(ablation.arms, trials), rules).needed:
        return f"Confirmation: {counted(done, 'training')} done, nothing left to do."
    one_by_one = len(rules.looks) > 1
    trainings = f"{'at most ' if one_by_one else ''}{counted(count, 'new training')}"
    seeds = f"{counted(len(ablation.seeds), 'new seed')}{', one by one' if one_by_one else ''}"
    arms = [arm for arm in ablation.arms if arm != DEFAULT]
    text = (
        f"Confirmation: {trainings}, of {', '.join(arms)} and the {DEFAULT} "
        f"with {seeds} ({plan.why})" + (f"; {done} of these trainings are done." if done else ".")
    )
    if best:
        text += (
            f" {arms[0].capitalize()} is expected to be better in new trainings than trial {best}, "
            "which has the best value."
        )
    return text


def apply_outcome(
    spec: SearchSpec,
    plan: Plan,
    summary: Summary,
    ablation: AblationSpec,
    trained: Mapping[str, Any],
    folder: Path,
) -> Summary:
    """Add a confirmation's outcome to the summary, and put the winner's generator into best/.

    `summary` is the search's summary without a confirmation. `ablation` is the confirmation, and
    `trained` is the content of its ablation.json. `folder` is the search's folder. Returns the new
    summary, which is also written to summary.json.
    """
    result = outcome(spec, summary, trained)
    search_result = {key: summary[key] for key in ("best", "verdict", "best_beats_default")}
    confirmation = {**result, "why": plan.why, "of_the_search": search_result}
    summary = {**summary, "confirmation": confirmation}
    if ended_early := trained.get("ended_early"):
        summary["ended_early"] = f"in the confirmation, {ended_early}"
    winner = next((arm for arm in result["arms"] if arm["name"] == result["winner"]), None)
    # At first, best/ may have a generator of an earlier confirmation.
    restore_search_best(folder, summary["best"]["source"])
    if winner is None:  # for example, the confirmation has not ended
        return _publish(folder, summary)
    if not _has_best_value(winner, summary):
        summary["best"] = _promote(spec, winner, ablation, trained, folder)
    has_verdict = winner["name"] == DEFAULT or winner["verdict"] != "no verdict"
    summary["best_beats_default"] = winner["verdict"] == "better" if has_verdict else None
    summary["verdict"] = result["sentence"]
    return _publish(folder, summary)


def _has_best_value(winner: Mapping[str, Any], summary: Summary) -> bool:
    """Return whether the search's best trial has the configuration of the winning arm."""
    keys = {trial["trial_id"]: configuration_key(trial["point"]) for trial in summary["trials"]}
    return keys.get(winner["trial_id"]) == keys[summary["best"]["trial_id"]]


def without_confirmation(summary: Mapping[str, Any]) -> Summary:
    """Return the summary of a search without the results of the confirmation."""
    search_result = (summary.get("confirmation") or {}).get("of_the_search", {})
    kept = {key: value for key, value in summary.items() if key != "ended_early"}
    return {"budget": {}, **kept, **search_result, "confirmation": None}


def _ablation(
    spec: SearchSpec, plan: Plan, summary: Summary, top: int, seeds: Sequence[int]
) -> AblationSpec | str:
    """Return the confirmation of the `top` best trials with `seeds`.

    If nothing can be trained, return the reason as a text.
    """
    if not top:
        return plan.why
    best = summary["best"]
    data_path = best["config"]["data"]["path"] if best else None
    try:
        ablation = confirmation_spec(spec, summary, top, seeds, data_path)
    except UserError as error:  # for example, the search space may exclude the default
        return str(error)
    return ablation or f"no trial except the {DEFAULT} has a metric value"


def _train(
    ablation: AblationSpec, rules: Rules, folder: Path, name: str, context: ExperimentContext
) -> Mapping[str, Any]:
    """Run the trainings that a confirmation needs; return the confirmation's summary.

    The summary is the content of the confirmation's ablation.json. `folder` is the confirmation's
    folder. `name` is the confirmation's name.
    """
    summary = summary_of(folder)
    order = order_of(summary["trials"], cells(ablation))
    ended = {
        trial["trial_id"]: trial for trial in summary["trials"] if trial["state"] != "unfinished"
    }
    if not is_started(folder, ablation, rules):
        start(folder, ablation, rules, list(ended))
    if not decide(ended_values(ablation.arms, ended.values()), rules).needed:
        # The arms may be others than those of the last ablation.json, and so may be their order.
        return RoundRecords(folder, ablation, order, ended, rules).publish([], over=True)
    earlier = {trial_id: ended[trial_id] for trial_id in earlier_trials(folder)}
    options = replace(context.options, name=name, resume=True)
    experiment = replace(
        ablation_of(ablation, order, earlier),
        confirms=folder.parent.name,
        make_searcher=lambda folder, limit, resuming: RoundSearcher(
            ablation, order, rules, earlier, limit
        ),
        make_records=lambda folder: RoundRecords(folder, ablation, order, earlier, rules),
        # Only counts: a search that continues afterwards counts the confirmation's time, too.
        make_tracker=lambda folder: BudgetTracker(Budget(), 0.0, folder),
    )
    return run_and_follow_up(experiment, folder, replace(context, options=options))[1]


def _promote(
    spec: SearchSpec,
    winner: Mapping[str, Any],
    ablation: AblationSpec,
    trained: Mapping[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """Put the best training of the winning arm into best/; return the new summary["best"].

    `winner` is the winning arm's entry in the outcome. `trained` is the content of the
    confirmation's ablation.json. `folder` is the search's folder.
    """
    sign = 1 if spec.metric.goal == "minimize" else -1
    trials = [
        trial
        for trial in trained["trials"]
        if trial["arm"] == winner["name"] and trial["state"] == "finished"
    ]
    best = min(trials, key=lambda trial: (sign * trial["value"], trial["trial_id"]))
    source = f"{FOLDER}/trials/{best['trial_id']}"
    row = read_rows(folder / source)[-1]
    cell = next(c for c in cells(ablation) if (c.arm, c.seed) == (best["arm"], best["seed"]))
    config = absolute_paths(cell_config(ablation, cell)).model_dump()
    save_search_best(folder)
    is_best = ablation.compare == "best"
    moments = {key: best[key] if is_best else None for key in MOMENTS}
    keep_best({**row, **moments, "config": config, "source": source}, folder)
    error = fakes_error_name(spec.metric.name)
    return {
        "trial_id": winner["trial_id"],
        "value": best["value"],
        "error": final_value(row, error) if is_best else value_of(row, error),
        **moments,
        "config": config,
        "checkpoint": "best/checkpoint",
        "state": "finished",
        "source": source,
    }


def _no_confirmation(why: str) -> dict[str, Any]:
    """Return summary["confirmation"] for a confirmation in which nothing was trained.

    `why` is the reason.
    """
    return {
        "seeds": [],
        "looks": [],
        "arms": [],
        "searched": None,
        "winner": None,
        "unfinished": 0,
        "why": why,
        "sentence": f"Not confirmed: {why}.",
    }


def _publish(folder: Path, summary: Summary) -> Summary:
    write_atomically(folder / "summary.json", json.dumps(summary, indent=1))
    return summary
