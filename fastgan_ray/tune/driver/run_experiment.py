"""Run an experiment: open its folder, start Ray, run the trials, write summary and report."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

from fastgan_ray.errors import UserError, full_disk
from fastgan_ray.files import write_atomically
from fastgan_ray.tune.driver.closing import is_interrupted, report_outcome
from fastgan_ray.tune.driver.records import TrialRecords
from fastgan_ray.tune.driver.run_trials import run_trials
from fastgan_ray.tune.driver.terminal import make_console
from fastgan_ray.tune.experiment import (
    Experiment,
    ExperimentContext,
    Summary,
    TuneOptions,
    experiment_context,
)
from fastgan_ray.tune.preflight import check_inputs, check_this_machine
from fastgan_ray.tune.storage.experiment_folder import (
    check_folder,
    folder_of,
    make_folder,
    open_storage,
    write_settings,
)
from fastgan_ray.tune.storage.lock import only_driver
from fastgan_ray.tune.storage.remote import RemoteStorage
from fastgan_ray.tune.storage.versions import note_versions
from fastgan_ray.tune.trial.objective import Objective, train_objective
from fastgan_ray.tune.wandb.outcome import log_outcome


def run_experiment(experiment: Experiment, options: TuneOptions, objective: Objective) -> Path:
    """Run an experiment, or continue it if `options.resume` is true; return its folder.

    `objective` is the function that each trial runs. Raises UserError if the folder cannot be used,
    if no machine has the resources for a trial, or if pictures or weights are missing. Raises
    InterruptedRunError if trials were interrupted. Raises FailedRunError if no trial has a metric
    value, or if several trials in a row fail for the same reason. Before these two errors, all
    results are written and printed. A single trial that fails raises no error.
    """
    name = experiment.name if options.name is None else options.name
    folder = folder_of(options.runs_dir, name)
    uri = options.storage_uri
    storage = open_storage(uri, name, folder, options.resume) if uri else None
    if options.resume:
        here = options.address is None
        check_folder(folder, experiment.kind, partial(experiment.changes, same_pictures=here))
    else:
        settings = experiment.text, experiment.overrides
        make_folder(folder, experiment.kind, *settings, experiment.files)
    try:
        with only_driver(folder):
            try:
                _run(experiment, options, folder, storage, objective)
            except UserError:
                if not options.resume and not (folder / experiment.summary_file).exists():
                    # No trial has started. Without the folder, the user can correct the command
                    # and use the same name.
                    shutil.rmtree(folder, ignore_errors=True)
                raise
    except Exception as error:
        if not (reason := full_disk(error)):
            raise
        raise UserError(
            f"{folder}: cannot be written ({reason}). Everything written so far is intact. Free "
            "some disk space, and continue with --resume."
        ) from error
    return folder


def _run(
    experiment: Experiment,
    options: TuneOptions,
    folder: Path,
    storage: RemoteStorage | None,
    objective: Objective,
) -> None:
    console = make_console(options.quiet)
    check_this_machine(experiment.sample_configs, options.address)
    if objective is train_objective:
        check_inputs(
            experiment.inputs, experiment.sample_configs, folder, options.address is None, console
        )
    nested = any(config.resources.nested for config in experiment.sample_configs)
    if nested and storage:
        raise UserError(
            "--runs: trials with several workers need a folder that all machines share "
            f"(got {storage}); set resources.workers to 1, or choose a shared folder"
        )
    with experiment_context(folder, options, objective, console, nested, storage) as context:
        # A resumed experiment may have other resources or more trials than before.
        write_settings(folder, experiment.kind, experiment.text, experiment.overrides)
        records, summary = run_and_follow_up(experiment, folder, context)
        if context.sync:
            context.sync.send()
    folders = [folder, *(folder / name for name in experiment.subfolders)]
    report_outcome(context, folders, summary, experiment.closing(summary), records.reports)


def run_and_follow_up(
    experiment: Experiment, folder: Path, context: ExperimentContext
) -> tuple[TrialRecords, Summary]:
    """Run an experiment's trials, then its `follow_up`; return the records and the summary.

    `folder` is the experiment's folder. `follow_up` does not run if the experiment was interrupted
    or ended early.
    """
    note_versions(folder)
    records = experiment.make_records(folder)
    name = experiment.confirms or context.options.name or experiment.name
    session = context.wandb_session(folder, name, confirms=experiment.confirms is not None)
    trials, ended_early = run_trials(experiment, context, records, session)
    summary = records.write(trials, over=True)
    stopped = is_interrupted(summary) or context.driver.stop.asked
    if ended_early:
        summary = {**summary, "ended_early": ended_early}
        write_atomically(folder / experiment.summary_file, json.dumps(summary, indent=1))
    elif experiment.follow_up and not stopped:
        summary = experiment.follow_up(summary, records, context)
    log_outcome(session, experiment.kind, summary)
    return records, summary
