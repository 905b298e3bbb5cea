"""Define what searches, ablations and confirmations share: options, description and context."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from rich.console import Console, RenderableType

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.tune.driver.budget import BudgetTracker
from fastgan_ray.tune.driver.records import TrialRecords
from fastgan_ray.tune.driver.repeated_failures import FAILURES_IN_A_ROW
from fastgan_ray.tune.driver.signals import DriverStop, driver_stopping
from fastgan_ray.tune.ray.resources import Resources
from fastgan_ray.tune.ray.session import connected, silenced
from fastgan_ray.tune.storage.remote import RemoteStorage
from fastgan_ray.tune.storage.sync import DriverSync
from fastgan_ray.tune.trial.objective import Objective
from fastgan_ray.tune.wandb.session import Mode, Session, project_name

Summary = dict[str, Any]


@dataclass(frozen=True)
class TuneOptions:
    """Options that say how and where trials run.

    A SearchSpec or an AblationSpec says which trials run.

    - `runs_dir`: the folder that contains the folders of all experiments.
    - `storage_uri`: a remote storage, or None. Runs are copied to this storage, and a resume
      fetches them from it. So the machines need no shared folder.
    - `name`: the name of the experiment's folder; None means the name in the YAML file.
    - `resume`: continue an existing experiment.
    - `max_concurrent`: the largest number of trials at the same time; None means as many as fit.
    - `wandb`: the W&B mode (see `choose_mode`).
    - `address`: the address of a Ray cluster; None means RAY_ADDRESS or this machine.
    - `quiet`: print nothing.
    - `warm_start`: the folder of another search, whose trials guide the new search; or None.
    - `disk_gb`: the largest total size of all checkpoints, in GB.
    - `detached`: send the output to a file in the run's folder as soon as the trials start.
    """

    runs_dir: Path = Path("runs")
    storage_uri: str | None = None
    name: str | None = None
    resume: bool = False
    max_concurrent: int | None = None
    wandb: Mode = "auto"
    address: str | None = None
    quiet: bool = False
    warm_start: Path | None = None
    disk_gb: float | None = None
    detached: bool = False


@dataclass(frozen=True)
class Experiment:
    """The description of one experiment: a search or an ablation.

    - `text`: the content of the search's or ablation's YAML file.
    - `overrides`: settings from the command line that replace those of this file, as JSON values.
    - `changes`: a function that is called before a resume. Its arguments are `same_pictures`, and
      the text and overrides with which the experiment was started. It returns a message for each
      setting that has changed but must not change. If `same_pictures` is true, the path of the
      pictures may change, because other code checks that the pictures are the same.
    - `configure`: takes a searcher's suggestion; returns the trial's configuration as nested dicts,
      with the keys of a RunConfig.
    - `trial_count`: how many trials run at most.
    - `longest_kimg`: the length of the longest trial, in kimg.
    - `inputs`: configurations whose data and weights must exist.
    - `sample_configs`: examples of the configurations that trials may have.
    - `summary_file`: the name of the file with the summary of all trials.
    - `make_searcher`: takes the experiment's folder, the largest number of trials at the same time,
      and whether the experiment is resumed; returns the searcher.
    - `make_scheduler`: takes the folder that contains all trials' folders; returns the scheduler.
    - `make_records`: takes the experiment's folder; returns the object that writes the summary.
    - `make_tracker`: takes the experiment's folder; returns the object that measures how much of
      the budget is used. None if there is no budget.
    - `follow_up`: a function that is called after all trials. Its arguments are the summary, the
      records and the context. It returns the summary with its own result added.
    - `subfolders`: the names of the subfolders that `follow_up` may create.
    - `closing`: takes the summary; returns the texts and tables to print at the end.
    - `default`: for a search, the parameter values of the published default; for an ablation,
      {"arm": name of the baseline}.
    - `confirms`: the name of the search that this ablation confirms; None if it confirms no search.
    - `files`: the contents of further files of the folder, by name, which are written at its start.
    - `grid_points`: the number of points of a grid search; None for other experiments.
    - `failures_in_a_row`: if this many trials in a row fail for the same reason, no more trials
      start.
    """

    kind: Literal["search", "ablation"]
    name: str
    text: str
    overrides: Mapping[str, Any]
    changes: Callable[..., list[str]]
    configure: Callable[[Mapping[str, Any]], dict[str, Any]]
    metric: Metric
    trial_count: int
    longest_kimg: float
    inputs: Sequence[RunConfig]
    sample_configs: Sequence[RunConfig]
    summary_file: str
    make_searcher: Callable[[Path, int, bool], Searcher]
    make_scheduler: Callable[[Path], TrialScheduler | None]
    make_records: Callable[[Path], TrialRecords]
    closing: Callable[[Summary], list[RenderableType]]
    make_tracker: Callable[[Path], BudgetTracker] | None = None
    follow_up: Callable[[Summary, TrialRecords, ExperimentContext], Summary] | None = None
    subfolders: Sequence[str] = ()
    default: Mapping[str, Any] = field(default_factory=dict)
    confirms: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    grid_points: int | None = None
    failures_in_a_row: int = FAILURES_IN_A_ROW


@dataclass(frozen=True)
class ExperimentContext:
    """Objects that an experiment uses; a search shares them with its confirmation.

    `folder` is the folder of the search or of the ablation. `nodes` are the resources of each
    machine. `driver` handles signals. `sync` copies the folder to `storage`.
    """

    folder: Path
    options: TuneOptions
    nodes: Sequence[Resources]
    objective: Objective
    console: Console
    driver: DriverStop
    storage: RemoteStorage | None = None
    sync: DriverSync | None = None

    def wandb_session(self, folder: Path, group: str, confirms: bool = False) -> Session:
        """Return the W&B session of the experiment in `folder`.

        `group` is the W&B group of all W&B runs. `confirms` says whether the experiment is a
        confirmation. If it is, `group` must be the group of the confirmed search.
        """
        return Session(folder, project_name(os.environ), group, self.options.wandb, confirms)


@contextlib.contextmanager
def experiment_context(
    folder: Path,
    options: TuneOptions,
    objective: Objective,
    console: Console,
    nested: bool,
    storage: RemoteStorage | None = None,
) -> Iterator[ExperimentContext]:
    """Install signal handlers and connect to Ray; yield the context.

    `folder` must be locked (see `only_driver`). `nested` is true if Ray Train runs a trial's
    workers. Raises UserError if Ray does not answer.
    """
    with (
        driver_stopping(options.quiet) as driver,
        silenced(folder / "ray.log"),
        connected(options.address, nested) as nodes,
    ):
        driver.listen()  # once more, because Ray replaces the handler of SIGTERM when it starts
        sync = DriverSync(storage, folder) if storage else None
        yield ExperimentContext(folder, options, nodes, objective, console, driver, storage, sync)
