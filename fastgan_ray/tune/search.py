"""A search: what its trials are, and what is made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.report.tables.confirmation import on_terminal
from fastgan_ray.report.tables.pareto import front_on_terminal
from fastgan_ray.search.confirmation import Plan, fit_to_budget, plan_confirmation
from fastgan_ray.search.file.budget import Confirm
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import (
    SearchSpec,
    base_config,
    confirmation_kimg,
    longest_kimg,
    run_config,
    sample_configs,
)
from fastgan_ray.search.warm_start import Prior, load_priors
from fastgan_ray.tune.confirmation import FOLDER, confirm_search, own_summary, sizes_of
from fastgan_ray.tune.driver.budget import BudgetTracker
from fastgan_ray.tune.driver.early_stopping import make_scheduler
from fastgan_ray.tune.driver.records import TrialRecords
from fastgan_ray.tune.driver.reports import Reports
from fastgan_ray.tune.driver.results import SearchRecords
from fastgan_ray.tune.driver.signals import driver_stopping
from fastgan_ray.tune.experiment import (
    Experiment,
    ExperimentContext,
    TuneOptions,
    make_console,
    report_outcome,
    run_experiment,
    session_of,
)
from fastgan_ray.tune.preflight import check_inputs, rooted
from fastgan_ray.tune.ray.session import connected, silenced
from fastgan_ray.tune.storage.lock import only_driver
from fastgan_ray.tune.storage.remote import without_password
from fastgan_ray.tune.suggest.searcher import StudySearcher
from fastgan_ray.tune.trial.objective import Objective, train_objective
from fastgan_ray.tune.wandb.outcome import log_outcome


def run_search(
    spec: SearchSpec, options: TuneOptions, objective: Objective = train_objective
) -> Path:
    """Run, or with `resume` go on with, a search; returns its folder, which has summary.json.

    UserError as `conduct` has it. Trials that go wrong are results, not errors.
    """
    if spec.population is not None and options.store:
        raise UserError(
            "--runs: a search with `population` needs a folder that all its machines share, as "
            f"trials take over each other's weights (got {without_password(options.store)})"
        )
    longest, plan = longest_kimg(spec), plan_confirmation(spec)
    priors = _priors(spec, options)

    def make_searcher(folder: Path, at_once: int, resuming: bool) -> StudySearcher:
        journal = folder / "study.journal"
        if not resuming:
            journal.unlink(missing_ok=True)  # of a search killed before it had begun
        return StudySearcher(spec, journal, at_once, configure, priors)

    def make_meter(folder: Path) -> BudgetTracker:
        return BudgetTracker(spec.budget, plan.kimg, folder)

    def confirm(
        account: dict[str, Any], ledger: TrialRecords, stage: ExperimentContext
    ) -> dict[str, Any]:
        meter = make_meter(ledger.folder)
        chosen = fit_to_budget(spec, plan, meter.kimg_left()) if plan.top else plan
        account = {**account, "budget": meter.used()}
        confirmed = confirm_search(spec, chosen, account, ledger.folder, stage)
        ledger.reports.refresh(over=True)
        return confirmed

    search = Experiment(
        kind="search",
        name=spec.name,
        text=spec.text,
        choices=spec.overrides,
        metric=spec.metric,
        trials=spec.run_cap,
        longest_kimg=longest,
        inputs=[base_config(spec)],
        likely=sample_configs(spec),
        account="summary.json",
        make_searcher=make_searcher,
        make_scheduler=lambda trials: make_scheduler(spec, longest, trials),
        make_ledger=lambda folder: SearchRecords(folder, spec),
        conclude=conclude,
        make_meter=make_meter if spec.budget else None,
        follow_up=confirm,
        parts=(FOLDER,),
    )
    return run_experiment(search, options, objective)


def _priors(spec: SearchSpec, options: TuneOptions) -> list[Prior]:
    if options.source is None:
        return []
    if options.resume:
        raise UserError("--from: what is resumed has its start already; leave --from out")
    return load_priors(options.source, spec)


def confirm_run(
    folder: Path,
    top: int | None,
    seeds: int | None,
    options: TuneOptions,
    objective: Objective = train_objective,
) -> None:
    """Confirm a search that has ended, or go on with its confirmation, or enlarge it.

    None = as many as there are already, or else as the file or its length has it, or else 2 and 3.
    UserError if the folder holds no search that has ended, or its pictures or weights are others.
    """
    spec, summary = _ended_search(folder)
    before = sizes_of(folder / FOLDER)
    planned = plan_confirmation(spec)
    usual = (planned.top, planned.seeds) if planned.top else (Confirm.top, Confirm.seeds)
    known = before if all(before) else usual
    top, seeds = top or known[0], seeds or known[1]
    plan = Plan(top, seeds, confirmation_kimg(spec, top, seeds), "as the command says")
    console = make_console(options)
    config = RunConfig.model_validate(summary["best"]["config"])
    if objective is train_objective:
        check_inputs([config], folder, options.address is None, console)
    with (
        only_driver(folder),
        driver_stopping(options.quiet) as driver,
        silenced(folder / "ray.log"),
        connected(options.address, config.resources.nested) as nodes,
    ):
        driver.listen()
        stage = ExperimentContext(options, nodes, objective, console, driver)
        account = confirm_search(spec, plan, own_summary(summary), folder, stage)
        reports = Reports(folder)
        reports.refresh(over=True)
        log_outcome(session_of(folder, folder.name, options), "search", account)
    places, onward = [folder, folder / FOLDER], "The same command goes on."
    report_outcome(stage, places, account, conclude(account), reports, onward)


def _ended_search(folder: Path) -> tuple[SearchSpec, dict[str, Any]]:
    """The search in a folder, and its summary; UserError unless it has ended with a best trial."""
    if not (folder / "search.yaml").is_file():
        raise UserError(
            f"{folder}: there is no search to confirm (no search.yaml in it); name a folder that "
            "`tune` has made, as runs/demo"
        )
    text, choices = (folder / "search.yaml").read_text(), folder / "overrides.json"
    spec = spec_from_text(text, str(folder / "search.yaml"), json.loads(choices.read_text()))
    path = folder / "summary.json"
    summary = json.loads(path.read_text()) if path.is_file() else {"trials": [], "best": None}
    left = sum(one["state"] == "unfinished" for one in summary["trials"])
    if left or summary["best"] is None:
        state = f"{left} of its trials have not" if left else "no trial of it has"
        raise UserError(
            f"{folder}: {state} ended with a value, so that there is nothing to confirm yet; go on "
            "with it by `tune --resume`"
        )
    return spec, summary


def conclude(summary: dict[str, Any]) -> list[RenderableType]:
    """What is said at the end of a search: the verdict, what to beware of, the front if any."""
    best = summary["best"] or {"trial_id": None}
    warnings = [one["warning"] for one in summary["trials"] if one["trial_id"] == best["trial_id"]]
    confirmed = summary["confirmation"]
    parts: list[RenderableType] = [summary["verdict"]]
    if confirmed and confirmed["arms"]:
        parts.insert(0, on_terminal(confirmed))
    if confirmed and not confirmed["winner"]:
        parts.append(confirmed["sentence"])
    for key, one in summary["budget"].items():
        parts.append(f"Budget:  {one['used']:.3g} of {one['limit']:g} {key} used by the search")
    parts += [f"Warning: {text}" for text in warnings if text]
    return [*parts, *front_on_terminal(summary)]


def configure(spec: SearchSpec, point: Mapping[str, Any]) -> RunConfig:
    """The configuration of a trial, with the pictures' path good in any working directory."""
    return rooted(run_config(spec, point))
