"""Trials that belong together, from beginning to end: their folder, Ray, the trials, the account.

A search and an ablation differ in which trials there are and in what is made of them; `Experiment`
is that difference, and `conduct` is all the rest.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import ray.tune
from ray.tune import Callback, PlacementGroupFactory
from ray.tune.experiment import Trial
from ray.tune.logger import TBXLoggerCallback
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from rich.console import Console, RenderableType

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError, full_disk
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.tune.driver.bad_machines import BadMachines, count_places
from fastgan_ray.tune.driver.budget import BudgetedSearcher, BudgetStopper, BudgetTracker
from fastgan_ray.tune.driver.records import TrialRecords
from fastgan_ray.tune.driver.reports import Reports, note_versions
from fastgan_ray.tune.driver.retries import MAX_DEATHS, RetryCounter
from fastgan_ray.tune.driver.signals import DriverStop, driver_stopping
from fastgan_ray.tune.driver.table import LiveTable
from fastgan_ray.tune.preflight import check_inputs
from fastgan_ray.tune.ray.compat import (
    STATE_PERIOD,
    NamedTrialGenerator,
    every_death_is_an_actor_error,
)
from fastgan_ray.tune.ray.resources import (
    Resources,
    can_reuse_process,
    check_feasible,
    check_memory,
    max_concurrent,
    request,
)
from fastgan_ray.tune.ray.session import connected, silenced
from fastgan_ray.tune.storage.disk import within
from fastgan_ray.tune.storage.experiment_folder import folder_of, open_folder, open_store
from fastgan_ray.tune.storage.lock import only_driver
from fastgan_ray.tune.storage.remote import RemoteStorage
from fastgan_ray.tune.storage.snapshot import (
    Snapshots,
    restore_snapshot,
    save_snapshot,
    seconds_between_records,
)
from fastgan_ray.tune.storage.sync import DriverSync
from fastgan_ray.tune.trial.folder import trial_name
from fastgan_ray.tune.trial.objective import Objective, train_objective
from fastgan_ray.tune.trial.trainable import make_trainable
from fastgan_ray.tune.wandb.callback import WandbLog
from fastgan_ray.tune.wandb.outcome import log_outcome
from fastgan_ray.tune.wandb.session import Mode, Session, project_name, sync_line

LOG_COLUMNS = 140  # of the table where there is no terminal
# Of the process of Ray Tune's in which a trial waits for its workers.
OUTER_BYTES = 128 * 2**20


@dataclass(frozen=True)
class TuneOptions:
    """How and where trials run; which ones stands in a SearchSpec or an AblationSpec.

    `store` is a URI to which `runs_dir` is copied, and from which `resume` fetches it: machines
    need no common folder then. `disk_gb` is what all checkpoints together may take.
    """

    runs_dir: Path = Path("runs")
    store: str | None = None
    name: str | None = None
    resume: bool = False
    max_concurrent: int | None = None
    wandb: Mode = "auto"
    address: str | None = None
    quiet: bool = False
    source: Path | None = None  # another search, whose trials are a start for this one
    disk_gb: float | None = None


@dataclass(frozen=True)
class Experiment:
    """What sets one experiment apart.

    `text` is its file, and `choices` what the command adds to it (JSON-able): both must be the same
    when it is resumed. `inputs` are configurations whose data and weights must be at hand; `likely`
    are those that trials may have. `account` is the file whose presence says that it has begun;
    `make_meter` counts against a budget; `follow_up` goes on when every trial has ended, and
    returns the account with what came of it; `conclude` turns that into what is said at the end.
    `parts` are folders of `follow_up`'s in the experiment's.
    """

    kind: Literal["search", "ablation"]
    name: str
    text: str
    choices: Mapping[str, Any]
    metric: Metric
    trials: int
    longest_kimg: float
    inputs: Sequence[RunConfig]
    likely: Sequence[RunConfig]
    account: str
    make_searcher: Callable[[Path, int, bool], Searcher]
    make_scheduler: Callable[[Path], TrialScheduler | None]
    make_ledger: Callable[[Path], TrialRecords]
    conclude: Callable[[dict[str, Any]], list[RenderableType]]
    make_meter: Callable[[Path], BudgetTracker] | None = None
    follow_up: (
        Callable[[dict[str, Any], TrialRecords, ExperimentContext], dict[str, Any]] | None
    ) = None
    parts: Sequence[str] = ()


@dataclass(frozen=True)
class ExperimentContext:
    """Where experiments run that share a Ray session, one after the other."""

    options: TuneOptions
    nodes: Sequence[Resources]
    objective: Objective
    console: Console
    driver: DriverStop
    store: RemoteStorage | None = None
    mirror: DriverSync | None = None


def run_experiment(experiment: Experiment, options: TuneOptions, objective: Objective) -> Path:
    """Run, or with `resume` go on with, an experiment; returns its folder.

    UserError if the folder cannot be used, no machine has what a trial needs, or the pictures or
    weights are missing. InterruptedRunError, when all is written and told, if trials were cut off.
    Trials that go wrong are results, not errors.
    """
    name = options.name or experiment.name
    folder = folder_of(options.runs_dir, name)
    store = open_store(options.store, name, folder, options.resume) if options.store else None
    open_folder(folder, experiment.kind, experiment.text, experiment.choices, options.resume)
    try:
        _run_experiment(experiment, options, folder, store, objective)
    except UserError:
        if not options.resume and not (folder / experiment.account).exists():
            shutil.rmtree(folder)  # nothing has begun, and the name is free for a mended command
        raise
    except Exception as error:
        if not (full := full_disk(error)):
            raise
        raise UserError(
            f"{folder}: cannot be written ({full}). What is there stands: free some disk, "
            "and go on with --resume."
        ) from error
    return folder


def _run_experiment(
    experiment: Experiment,
    options: TuneOptions,
    folder: Path,
    store: RemoteStorage | None,
    objective: Objective,
) -> None:
    console = make_console(options)
    if objective is train_objective:
        here = options.address is None
        check_inputs(experiment.inputs, folder, here, console)
    nested = any(config.resources.nested for config in experiment.likely)
    if nested and store:
        raise UserError(
            "--runs: trials of several workers need a folder that all machines share "
            f"(got {store}); set resources.workers to 1, or name such a folder"
        )
    with (
        only_driver(folder),
        driver_stopping(options.quiet) as driver,
        silenced(folder / "ray.log"),
        connected(options.address, nested) as nodes,
    ):
        driver.listen()
        mirror = DriverSync(store, folder) if store else None
        stage = ExperimentContext(options, nodes, objective, console, driver, store, mirror)
        ledger, account = run_trials_and_follow_up(experiment, folder, stage)
        if mirror:
            mirror.send()
    places = [folder, *(folder / part for part in experiment.parts)]
    report_outcome(stage, places, account, experiment.conclude(account), ledger.reports)


def report_outcome(
    stage: ExperimentContext,
    places: Sequence[Path],
    account: Mapping[str, Any],
    conclusion: Sequence[RenderableType],
    reports: Reports,
    onward: str = "The same command with --resume goes on.",
) -> None:
    """Say what came out, and where it lies; InterruptedRunError if it is not all.

    `places` are the experiment's folder and those in it that have W&B runs of their own.
    """
    console, stop = stage.console, stage.driver.stop
    if interrupted := is_interrupted(account) or stop.asked:
        _say(console, f"Stopped before the end. {onward}")
    for part in conclusion:
        _say(console, part)
    _say(console, f"Results: {places[0]}")
    _say(console, reports.describe())
    if mirror := stage.mirror:
        fault = f", but not all of it ({mirror.fault}); what is in the folder stands"
        _say(console, f"Copied:  {stage.store}{fault if mirror.fault else ''}")
    for place in places:
        if upload := sync_line(place):
            _say(console, f"To W&B:  {upload}")
    if interrupted:
        raise stop.error(f"{places[0]} is not finished")


def make_console(options: TuneOptions) -> Console:
    """What is said goes to standard output, past Ray's log."""
    width = None if sys.stdout.isatty() else LOG_COLUMNS
    return Console(file=sys.stdout, quiet=options.quiet, width=width)


def session_of(folder: Path, group: str, options: TuneOptions) -> Session:
    """The W&B runs of an experiment."""
    return Session(folder, project_name(os.environ), group, options.wandb)


def run_trials_and_follow_up(
    experiment: Experiment, folder: Path, stage: ExperimentContext
) -> tuple[TrialRecords, dict[str, Any]]:
    """Run an experiment's trials and what follows them in its folder; returns the whole account."""
    note_versions(folder)
    ledger = experiment.make_ledger(folder)
    session = session_of(folder, stage.options.name or experiment.name, stage.options)
    meter = experiment.make_meter(folder) if experiment.make_meter else None
    watchers = _watchers(experiment, session, ledger, stage.console, meter)
    watchers = [stage.mirror, *watchers] if stage.mirror else watchers
    trials = _run_trials(experiment, stage, ledger, watchers, meter)
    account = ledger.write(trials, over=True)
    stopped = is_interrupted(account) or stage.driver.stop.asked
    if experiment.follow_up and not stopped:
        account = experiment.follow_up(account, ledger, stage)
    log_outcome(session, experiment.kind, account)
    return ledger, account


def is_interrupted(account: Mapping[str, Any]) -> bool:
    """Whether trials, or those of the confirmation, have yet to end."""
    confirmation = account.get("confirmation") or {"unfinished": 0}
    unfinished = any(trial["state"] == "unfinished" for trial in account["trials"])
    return unfinished or bool(confirmation["unfinished"])


def _say(console: Console, part: RenderableType) -> None:
    console.print(part, highlight=False, soft_wrap=isinstance(part, str))


def _run_trials(
    experiment: Experiment,
    stage: ExperimentContext,
    ledger: TrialRecords,
    watchers: list[Callback],
    meter: BudgetTracker | None,
) -> list[Trial]:
    """Run the trials; returns Ray's record of each."""
    options, nodes, objective = stage.options, stage.nodes, stage.objective
    folder, metric = ledger.folder, experiment.metric.name
    trials, states = folder / "trials", folder / "state"
    trials.mkdir(exist_ok=True)
    resuming = options.resume and restore_snapshot(states, trials)
    requests = [request(config, nodes) for config in experiment.likely]
    check_feasible(requests, nodes)
    at_once = max_concurrent(requests, nodes, options.max_concurrent)
    with_room, warning = check_memory(experiment.likely, nodes)
    at_once = min(at_once, with_room or at_once)
    if warning:
        _say(stage.console, warning)
    if options.disk_gb is not None:
        kept = experiment.trials if experiment.kind == "ablation" else 0
        at_once = min(at_once, within(options.disk_gb, experiment.likely, kept))
    searcher, deaths = experiment.make_searcher(folder, at_once, resuming), RetryCounter(trials)
    if meter:
        meter.check_gpus([one.worker for one in requests])
        searcher = BudgetedSearcher(searcher, meter, experiment.longest_kimg)

    def worker_needs(config: RunConfig, number: int = 0) -> dict[str, float]:
        return dict(request(config, nodes).choose(number, nodes))

    def needs(suggestion: dict[str, Any]) -> PlacementGroupFactory:
        config = RunConfig.model_validate(suggestion["run"])
        if config.resources.nested:  # something it must ask for, and no core that workers lack
            return PlacementGroupFactory([{"memory": OUTER_BYTES}])
        return PlacementGroupFactory([worker_needs(config, suggestion["number"])])

    bad_machines = BadMachines(trials, count_places(nodes), partial(_say, stage.console))
    stage.driver.begin(trials)
    os.environ[STATE_PERIOD] = f"{seconds_between_records(experiment.trials):g}"
    with every_death_is_an_actor_error():
        analysis = ray.tune.run(
            ray.tune.with_resources(
                make_trainable(trials, metric, objective, worker_needs, stage.store), needs
            ),
            name=trials.name,
            storage_path=str(folder),
            search_alg=NamedTrialGenerator(searcher, _name, resuming, deaths.ran_out_of_memory),
            scheduler=experiment.make_scheduler(trials),
            stop=BudgetStopper(meter.path) if meter else None,
            num_samples=experiment.trials,
            max_failures=MAX_DEATHS,
            callbacks=[*watchers, deaths, bad_machines, Snapshots(states)],
            resume="AUTO+ERRORED" if resuming else None,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
            raise_on_failed_trial=False,
            reuse_actors=all(map(can_reuse_process, requests)),
            verbose=0,
        )
    stage.driver.trials_are_over()
    save_snapshot(trials, states)
    return list(analysis.trials)


def _watchers(
    experiment: Experiment,
    session: Session,
    ledger: TrialRecords,
    console: Console,
    meter: BudgetTracker | None,
) -> list[Callback]:
    tensorboard: Callable[[], Callback] = TBXLoggerCallback
    metric, name = experiment.metric, session.group
    facts = (name, metric.name, metric.goal, experiment.trials, experiment.longest_kimg)
    return [
        *([meter] if meter else []),  # before those that it tells
        tensorboard(),
        WandbLog(session, metric),
        LiveTable(*facts, console, meter),
        ledger,
    ]


def _name(trial: Trial) -> str:
    return trial_name(trial.config["number"])
