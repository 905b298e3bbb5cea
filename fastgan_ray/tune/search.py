"""Run a search on Ray Tune, confirm its result, and compose the texts of its end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.counting import counted
from fastgan_ray.errors import FailedRunError, UserError
from fastgan_ray.report.tables.confirmation import notes as confirmation_notes
from fastgan_ray.report.tables.confirmation import on_terminal
from fastgan_ray.report.tables.pareto import front_on_terminal
from fastgan_ray.report.text import best_moment
from fastgan_ray.search.confirmation import Plan, fit_to_budget, plan_confirmation, used_seeds
from fastgan_ray.search.file.budget import LEAST_SEEDS, MAX_SEEDS, Confirm
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import (
    SearchSpec,
    base_config,
    confirmation_kimg,
    longest_kimg,
    run_config,
    sample_configs,
    start_point,
    trial_count,
)
from fastgan_ray.search.knowledge.responses import knowledge_of
from fastgan_ray.search.resume import search_changes
from fastgan_ray.search.space import size
from fastgan_ray.search.warm_start import (
    EarlierTrial,
    earlier_trials_file,
    load_earlier_trials,
    read_earlier_trials,
)
from fastgan_ray.tune.confirmation import confirm_search, without_confirmation
from fastgan_ray.tune.driver.budget import BudgetTracker
from fastgan_ray.tune.driver.closing import report_outcome
from fastgan_ray.tune.driver.records import TrialRecords
from fastgan_ray.tune.driver.reports import Reports
from fastgan_ray.tune.driver.results import SearchRecords
from fastgan_ray.tune.driver.run_experiment import run_experiment
from fastgan_ray.tune.driver.scheduler import make_scheduler
from fastgan_ray.tune.driver.terminal import make_console
from fastgan_ray.tune.experiment import (
    Experiment,
    ExperimentContext,
    Summary,
    TuneOptions,
    experiment_context,
)
from fastgan_ray.tune.preflight import absolute_paths, check_inputs, check_this_machine
from fastgan_ray.tune.rounds.folder import FOLDER, confirmation_size, reusable_kimg, used_by
from fastgan_ray.tune.storage.lock import only_driver
from fastgan_ray.tune.storage.remote import without_password
from fastgan_ray.tune.suggest.searcher import StudySearcher
from fastgan_ray.tune.trial.objective import Objective, train_objective
from fastgan_ray.tune.wandb.outcome import log_outcome


def run_search(
    spec: SearchSpec, options: TuneOptions, objective: Objective = train_objective
) -> Path:
    """Run a search, or continue it if `options.resume` is true; return the search's folder.

    The file summary.json in this folder has the results. `objective` is the function that each
    trial runs. Raises UserError if a search with `population` has a remote storage, and the errors
    that `run_experiment` raises.
    """
    if spec.population is not None and options.storage_uri:
        raise UserError(
            "--runs: a search with `population` needs a folder that all machines share, "
            "because trials copy each other's weights (got "
            f"{without_password(options.storage_uri)})"
        )
    return run_experiment(_experiment(spec, _earlier_trials(spec, options)), options, objective)


def _experiment(spec: SearchSpec, earlier_trials: list[EarlierTrial]) -> Experiment:
    longest, plan = longest_kimg(spec), plan_confirmation(spec)
    if spec.sampler == "curves" or spec.budget.until is not None:
        knowledge_of(spec)  # a damaged library is an error now, not after the first trial

    def make_searcher(folder: Path, max_concurrent: int, resuming: bool) -> StudySearcher:
        journal = folder / "study.journal"
        if resuming:
            return StudySearcher(spec, journal, max_concurrent, configure)
        # A search that was killed before its first snapshot may have left these files.
        journal.unlink(missing_ok=True)
        earlier = read_earlier_trials(folder)
        return StudySearcher(spec, journal, max_concurrent, configure, earlier)

    def make_tracker(folder: Path) -> BudgetTracker:
        reserved = max(0.0, plan.kimg - reusable_kimg(folder / FOLDER))
        return BudgetTracker(spec.budget, reserved, folder, confirmed=used_by(folder / FOLDER))

    def confirm(summary: Summary, records: TrialRecords, context: ExperimentContext) -> Summary:
        tracker = make_tracker(records.folder)
        left = tracker.kimg_left() + reusable_kimg(records.folder / FOLDER)
        fitted = fit_to_budget(spec, plan, left) if plan.top else plan
        summary = {**summary, "budget": tracker.used()}
        summary = confirm_search(spec, fitted, summary, records.folder, context)
        records.reports.refresh(over=True)
        return summary

    def changes(text: str, overrides: Mapping[str, Any], same_pictures: bool) -> list[str]:
        before = spec_from_text(text, "search.yaml", overrides)
        return search_changes(before, spec, same_pictures)

    return Experiment(
        kind="search",
        name=spec.name,
        text=spec.text,
        overrides=spec.overrides,
        changes=changes,
        configure=lambda suggestion: configure(spec, suggestion["point"]).model_dump(),
        metric=spec.metric,
        trial_count=trial_count(spec),
        longest_kimg=longest,
        inputs=[base_config(spec)],
        sample_configs=sample_configs(spec),
        summary_file="summary.json",
        make_searcher=make_searcher,
        make_scheduler=lambda trials: make_scheduler(spec, longest, trials),
        make_records=lambda folder: SearchRecords(folder, spec),
        closing=closing,
        make_tracker=make_tracker if spec.budget else None,
        follow_up=confirm,
        subfolders=(FOLDER,),
        default=start_point(spec),
        grid_points=size(spec.space) if spec.method == "grid" else None,
        files=earlier_trials_file(earlier_trials),
    )


def _earlier_trials(spec: SearchSpec, options: TuneOptions) -> list[EarlierTrial]:
    if options.warm_start is None:
        return []
    if options.resume:
        raise UserError(
            "--from: cannot be used with --resume, because a search takes over trials of another "
            "search only when it starts. Leave --from out."
        )
    return load_earlier_trials(options.warm_start, spec)


def confirm_run(
    folder: Path,
    top: int | None,
    seeds: Sequence[int],
    options: TuneOptions,
    objective: Objective = train_objective,
) -> None:
    """Confirm a search that has ended, or continue or enlarge its confirmation.

    `folder` is the search's folder. `top` is the number of best trials that are trained again; None
    means the default number. `seeds` are seeds that the search has not used; they are all trained.
    If `seeds` is empty, at most the default number of seeds is used, one after another. The default
    numbers are those of the existing confirmation. If there is no confirmation, they are those of
    `plan_confirmation`. If nothing is planned, they are 2 trials and 3 seeds.

    Raises UserError if the folder has no search that has ended, if the search has used one of the
    seeds, if there are too few or too many seeds, or if the search's pictures or weights have
    changed. Raises FailedRunError if no training of the confirmation ends well, and
    InterruptedRunError if trainings are unfinished.
    """
    spec, summary = _ended_search(folder)
    seeds = _all_seeds(spec, summary, folder, seeds)
    plan = _plan(spec, folder, top, len(seeds))
    with only_driver(folder):
        _confirm_run(spec, summary, plan, folder, seeds, options, objective)


def _confirm_run(
    spec: SearchSpec,
    summary: Summary,
    plan: Plan,
    folder: Path,
    seeds: Sequence[int],
    options: TuneOptions,
    objective: Objective,
) -> None:
    console = make_console(options.quiet)
    config = RunConfig.model_validate(summary["best"]["config"])
    check_this_machine([config], options.address)
    if objective is train_objective:
        check_inputs([config], sample_configs(spec), folder, options.address is None, console)
    nested = config.resources.nested
    with experiment_context(folder, options, objective, console, nested) as context:
        summary = confirm_search(spec, plan, without_confirmation(summary), folder, context, seeds)
        reports = Reports(folder)
        reports.refresh(over=True)
        log_outcome(context.wandb_session(folder, folder.name), "search", summary)
    folders, how = [folder, folder / FOLDER], "Continue with the same command."
    report_outcome(context, folders, summary, closing(summary), reports, how)
    confirmation = summary["confirmation"]
    if confirmation["arms"] and not any(arm["ended_well"] for arm in confirmation["arms"]):
        raise FailedRunError(f"{folder / FOLDER}: {confirmation['sentence']}")


def _all_seeds(spec: SearchSpec, summary: Summary, folder: Path, seeds: Sequence[int]) -> list[int]:
    """Return the seeds of an existing confirmation, followed by the new `seeds`.

    Return [] if `seeds` is empty. Raise UserError if the search has used one of `seeds`, or if the
    number of all seeds is not allowed.
    """
    if not seeds:
        return []
    if used := sorted({*seeds} & used_seeds(spec, summary)):
        raise UserError(
            f"--seeds: the search has already used {', '.join(map(str, used))}. A confirmation "
            "needs new seeds, for example --seeds 101-103."
        )
    _, started = confirmation_size(folder / FOLDER)
    together = list(dict.fromkeys([*started, *seeds]))
    if not LEAST_SEEDS <= len(together) <= MAX_SEEDS:
        raise UserError(
            f"--seeds: must be {LEAST_SEEDS} to {MAX_SEEDS} seeds "
            f"(got {', '.join(map(str, together[:3]))}). Write the seeds themselves, not their "
            "number. For three seeds, write for example 1-3."
        )
    return together


def _plan(spec: SearchSpec, folder: Path, top: int | None, seeds: int) -> Plan:
    planned = plan_confirmation(spec)
    default = (planned.top, planned.seeds) if planned.top else (Confirm.top, Confirm.seeds)
    started_top, started_seeds = confirmation_size(folder / FOLDER)
    default = (started_top, len(started_seeds)) if started_top else default
    top, seeds = top or default[0], seeds or default[1]
    return Plan(top, seeds, confirmation_kimg(spec, top, seeds), "as the command says")


def _ended_search(folder: Path) -> tuple[SearchSpec, Summary]:
    """Read the search file and the summary in the folder of a search.

    Raises UserError if the folder has no search, if trials have not ended, or if no trial has a
    metric value.
    """
    file = folder / "search.yaml"
    if not file.is_file():
        raise UserError(
            f"{folder}: there is no search to confirm, because the folder has no search.yaml. "
            "Name a folder that `tune` has made, such as runs/demo."
        )
    overrides = json.loads((folder / "overrides.json").read_text())
    spec = spec_from_text(file.read_text(), str(file), overrides)
    path = folder / "summary.json"
    summary = json.loads(path.read_text()) if path.is_file() else {"trials": [], "best": None}
    unfinished = sum(trial["state"] == "unfinished" for trial in summary["trials"])
    if unfinished or summary["best"] is None:
        count = len(summary["trials"])
        have = "has" if unfinished == 1 else "have"
        problem = (
            f"{unfinished} of {counted(count, 'trial')} {have} not ended"
            if unfinished
            else "no trial has a value"
        )
        raise UserError(
            f"{folder}: {problem}, so there is nothing to confirm yet; continue the search with "
            "`tune --resume`"
        )
    return spec, summary


def closing(summary: Summary) -> list[RenderableType]:
    """Return what to print at the end of a search: verdict, budget, warnings, Pareto front.

    `summary` is the content of summary.json.
    """
    best = summary["best"] or {"trial_id": None}
    warnings = [
        trial["warning"] for trial in summary["trials"] if trial["trial_id"] == best["trial_id"]
    ]
    confirmation = summary["confirmation"]
    parts: list[RenderableType] = [summary["verdict"]]
    if confirmation and confirmation["arms"]:
        parts = [on_terminal(confirmation), *confirmation_notes(confirmation), *parts]
    if confirmation and not confirmation["winner"]:
        parts.append(confirmation["sentence"])
    if moment := best_moment(best, summary["metric"]["name"]):
        parts.append(f"{moment} The folder best/ has this checkpoint.")
    # Summaries of earlier versions lack the next two keys.
    parts += filter(None, [summary.get("settled")])
    if any(trial["state"] == "stopped" for trial in summary["trials"]):
        parts += filter(None, [(summary.get("ranking") or {}).get("early_values")])
    for key, budget in summary["budget"].items():
        parts.append(f"Budget:  the search used {budget['used']:.3g} of {budget['limit']:g} {key}")
    parts += [f"Warning: {text}" for text in warnings if text]
    parts += filter(None, [summary.get("note")])  # summaries of earlier versions lack it
    return [*parts, *front_on_terminal(summary)]


def configure(spec: SearchSpec, point: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of a trial, with absolute paths of its input files.

    `point` has the values of the searched parameters by their dotted names.
    """
    return absolute_paths(run_config(spec, point))
