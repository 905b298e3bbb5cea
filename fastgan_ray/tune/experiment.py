"""Classes that searches, ablations and confirmations share: options, description, context."""

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
from fastgan_ray.tune.storage.lock import only_driver
from fastgan_ray.tune.storage.remote import RemoteStorage
from fastgan_ray.tune.storage.sync import DriverSync
from fastgan_ray.tune.trial.objective import Objective
from fastgan_ray.tune.wandb.session import Mode, Session, project_name

Summary = dict[str, Any]


@dataclass(frozen=True)
class TuneOptions:
    """Options that say how and where trials run.

    A SearchSpec or an AblationSpec says which trials run.

    `storage_uri` is a remote storage. Runs are copied to this storage, and `resume` fetches them
    from it, so the machines need no shared folder. `disk_gb` limits the total size of all
    checkpoints, in GB. `warm_start` is the folder of another search, whose trials the new search
    starts from. With `detached`, the output goes to a file in the run's folder as soon as the
    trials start.
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
    - `overrides`: the command's options that change settings of this file, as JSON values.
    - `changes`: a function that is called before a resume. It takes the earlier text, the
      earlier overrides and `same_pictures`, and returns a message for each difference that is not
      allowed. If `same_pictures` is true, the path of the pictures may differ; other code then
      checks that the pictures are the same.
    - `configure`: takes a searcher's suggestion; returns the trial's configuration as nested dicts,
      with the keys of a RunConfig.
    - `inputs`: configurations whose data and weights must exist.
    - `sample_configs`: examples of the configurations that trials may have.
    - `summary_file`: name of the summary; the file exists as soon as the experiment has started.
    - `make_searcher`: takes the experiment's folder, the largest number of trials at the same time,
      and whether the experiment is resumed.
    - `make_scheduler`: takes the folder that contains all trials' folders.
    - `make_records`, `make_tracker`: take the experiment's folder. The tracker measures how much of
      the budget is used.
    - `follow_up`: runs after all trials. It takes the summary and returns it with the result of the
      follow-up added. It may use the subfolders in `subfolders`.
    - `closing`: takes the summary; returns the text to print at the end.
    - `default`: for a search, the published default's values of its parameters; for an ablation,
      the name of the baseline arm.
    - `confirms`: the name of the search that this ablation confirms, else None.
    - `grid_points`: the number of points of a grid search, else None.
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
    grid_points: int | None = None
    failures_in_a_row: int = FAILURES_IN_A_ROW


@dataclass(frozen=True)
class ExperimentContext:
    """Objects shared by all experiments of one Ray session (such as a search and its confirmation).

    `folder` is the folder of the search or of the ablation.
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

        If `confirms` is true, the experiment is a confirmation, and `group` is the search's group.
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
    """Lock the folder, install signal handlers and connect to Ray.

    `nested` is true if a trial has several workers. Raises UserError if another process runs the
    same experiment, or if Ray does not answer.
    """
    with (
        only_driver(folder),
        driver_stopping(options.quiet) as driver,
        silenced(folder / "ray.log"),
        connected(options.address, nested) as nodes,
    ):
        driver.listen()  # once more, because Ray replaces the handler of SIGTERM when it starts
        sync = DriverSync(storage, folder) if storage else None
        yield ExperimentContext(folder, options, nodes, objective, console, driver, storage, sync)
