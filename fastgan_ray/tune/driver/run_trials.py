"""Run trials on Ray Tune: how many at once, with which scheduler and callbacks."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ray.tune
from ray.tune import Callback, PlacementGroupFactory
from ray.tune.experiment import Trial
from ray.tune.logger import TBXLoggerCallback
from ray.tune.search import Searcher

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.tune.driver.bad_machines import BadMachines, count_places
from fastgan_ray.tune.driver.budget import BudgetedSearcher, BudgetStopper, BudgetTracker
from fastgan_ray.tune.driver.live_table import LiveTable
from fastgan_ray.tune.driver.records import TrialRecords
from fastgan_ray.tune.driver.repeated_failures import RepeatedFailures
from fastgan_ray.tune.driver.retries import MAX_DEATHS, RetryCounter
from fastgan_ray.tune.driver.status import ProgressFile
from fastgan_ray.tune.driver.tensorboard import TensorBoardNumbers
from fastgan_ray.tune.driver.terminal import move_output, say
from fastgan_ray.tune.experiment import Experiment, ExperimentContext
from fastgan_ray.tune.ray.compat import (
    STATE_PERIOD,
    NamedTrialGenerator,
    every_death_is_an_actor_error,
)
from fastgan_ray.tune.ray.resources import (
    Request,
    can_reuse_process,
    check_devices,
    check_feasible,
    check_memory,
    max_concurrent,
    request,
)
from fastgan_ray.tune.storage.disk import trials_within
from fastgan_ray.tune.storage.snapshot import (
    Snapshots,
    restore_snapshot,
    save_snapshot,
    state_period,
)
from fastgan_ray.tune.trial.folder import trial_name
from fastgan_ray.tune.trial.trainable import make_trainable
from fastgan_ray.tune.wandb.callback import WandbLog
from fastgan_ray.tune.wandb.session import Session

# Memory in bytes for the Ray Tune process in which a trial waits for its workers.
OUTER_BYTES = 128 * 2**20


def run_trials(
    experiment: Experiment, context: ExperimentContext, records: TrialRecords, session: Session
) -> tuple[list[Trial], str]:
    """Run the trials of an experiment; return Ray's trials, and why the experiment ended early.

    The second value is "" if the experiment did not end early. An experiment ends early if several
    trials in a row fail for the same reason. A resumed experiment does not run an ended
    trial again, unless the trial's process died too often. Raises UserError if no machine has the
    resources for a trial.
    """
    options, nodes, folder = context.options, context.nodes, records.folder
    trials, states = folder / "trials", folder / "state"
    trials.mkdir(exist_ok=True)
    resuming = options.resume and restore_snapshot(states, trials, experiment.configure)
    requests = [request(config, nodes) for config in experiment.sample_configs]
    limit = _concurrency(experiment, context, requests)
    tracker = experiment.make_tracker(folder) if experiment.make_tracker else None
    if tracker:
        tracker.check_gpus([request.worker for request in requests])
    searcher = _searcher(experiment, folder, limit, resuming, tracker)
    retries = RetryCounter(trials)
    bad_machines = BadMachines(trials, count_places(nodes), partial(say, context.console))
    failures = RepeatedFailures(experiment.failures_in_a_row)
    watchers = _watchers(experiment, context, records, session, tracker)
    context.driver.begin(trials)
    if options.detached:
        move_output(context.folder, context.console)
    analysis = _tune(
        _trainable(experiment, context, trials),
        trials,
        search_alg=NamedTrialGenerator(
            searcher,
            _name,
            resuming,
            retries.ran_out_of_memory,
            experiment.trial_count,
            lambda: failures.ended,
        ),
        scheduler=experiment.make_scheduler(trials),
        stop=BudgetStopper(tracker.path) if tracker else None,
        num_samples=experiment.trial_count,
        callbacks=[*watchers, retries, bad_machines, failures, Snapshots(states)],
        resume="AUTO+ERRORED" if resuming else None,
        reuse_actors=all(map(can_reuse_process, requests)),
    )
    context.driver.trials_are_over()
    save_snapshot(trials, states)
    return list(analysis.trials), failures.describe()


def _tune(
    trainable: Callable[[dict[str, Any]], None], trials: Path, num_samples: int, **settings: object
) -> ray.tune.ExperimentAnalysis:
    """Run Ray Tune with the settings that all experiments share.

    `trials` is the folder that will contain all trials' folders. `settings` are further arguments
    of `ray.tune.run`.
    """
    os.environ[STATE_PERIOD] = f"{state_period(num_samples):g}"
    with every_death_is_an_actor_error():
        return ray.tune.run(
            trainable,
            name=trials.name,
            storage_path=str(trials.parent),
            num_samples=num_samples,
            max_failures=MAX_DEATHS,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
            raise_on_failed_trial=False,
            verbose=0,
            **settings,  # type: ignore[arg-type]
        )


def _searcher(
    experiment: Experiment,
    folder: Path,
    limit: int,
    resuming: bool,
    tracker: BudgetTracker | None,
) -> Searcher:
    """Return the experiment's searcher.

    If there is a `tracker`, the searcher suggests only trials that fit into the budget. `limit` is
    the largest number of trials at the same time.
    """
    searcher = experiment.make_searcher(folder, limit, resuming)
    if tracker is None:
        return searcher
    return BudgetedSearcher(searcher, tracker, experiment.longest_kimg)


def _concurrency(
    experiment: Experiment, context: ExperimentContext, requests: Sequence[Request]
) -> int:
    """Return how many trials may run at the same time.

    The limits are cores, GPUs, memory, disk space and the user's option. Raises UserError if no
    trial can run.
    """
    options, nodes, configs = context.options, context.nodes, experiment.sample_configs
    check_devices(configs, nodes)
    check_feasible(requests, nodes)
    limits = [max_concurrent(requests, nodes, options.max_concurrent)]
    memory_limit, warning = check_memory(configs, nodes)
    if warning:
        say(context.console, warning)
    if memory_limit:
        limits.append(memory_limit)
    if options.disk_gb is not None:
        weights_kept = experiment.trial_count if experiment.kind == "ablation" else 0
        limits.append(trials_within(options.disk_gb, configs, weights_kept))
    return min(limits)


def _trainable(
    experiment: Experiment, context: ExperimentContext, trials: Path
) -> Callable[[dict[str, Any]], None]:
    """Return the function that Ray runs for each trial.

    A second function is attached to the returned function. Ray calls the second function to get the
    resources of a trial. `trials` is the folder that contains all trials' folders.
    """
    nodes = context.nodes

    def worker_resources(config: RunConfig, number: int = 0) -> dict[str, float]:
        return dict(request(config, nodes).choose(number, nodes))

    def trial_resources(suggestion: dict[str, Any]) -> PlacementGroupFactory:
        config = RunConfig.model_validate(suggestion["run"])
        # The workers request the cores. The outer process requests only memory, because a request
        # must not be empty.
        if config.resources.nested:
            return PlacementGroupFactory([{"memory": OUTER_BYTES}])
        return PlacementGroupFactory([worker_resources(config, suggestion["number"])])

    metric, objective, storage = experiment.metric.name, context.objective, context.storage
    function = make_trainable(trials, metric, objective, worker_resources, storage)
    trainable: Callable[[dict[str, Any]], None] = ray.tune.with_resources(function, trial_resources)
    return trainable


def _watchers(
    experiment: Experiment,
    context: ExperimentContext,
    records: TrialRecords,
    session: Session,
    tracker: BudgetTracker | None,
) -> list[Callback]:
    """Return the callbacks that record and show results, in the order in which Ray calls them."""
    tensorboard: Callable[[], Callback] = TBXLoggerCallback
    metric, count = experiment.metric, experiment.trial_count
    name = context.options.name or experiment.name
    facts = (name, metric.name, metric.goal, count, experiment.longest_kimg)
    return [
        *([context.sync] if context.sync else []),  # fetches files that later callbacks read
        *([tracker] if tracker else []),  # updates the numbers that the table shows
        tensorboard(),
        TensorBoardNumbers(records.folder / "trials"),
        WandbLog(session, metric, experiment.default),
        LiveTable(
            *facts,
            context.console,
            tracker,
            experiment.default if experiment.kind == "search" else None,
            experiment.grid_points,
            ProgressFile(records.folder),
            lambda: records.expected,
        ),
        records,
    ]


def _name(trial: Trial) -> str:
    return trial_name(trial.config["number"])
