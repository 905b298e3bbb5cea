"""The common parts of searches, ablations and confirmations: options, trials, a Ray session."""

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
    """How and where trials run. (A SearchSpec or an AblationSpec says which trials run.)

    `storage_uri` is a remote storage: runs are copied there, and `resume` fetches them from it, so
    machines need no shared folder. `disk_gb` limits the size of all checkpoints together, in GB.
    `warm_start` is the folder of another search; this search starts from its trials. With
    `detached`, the output moves to a file in the run's folder when the trials start.
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

    `text` is the content of its file. `overrides` are the options of the command that change the
    file's settings (JSON values). `changes` is called before a resume with the earlier text and
    overrides, and returns a text for each difference that is not allowed. Its argument
    `same_pictures` says whether the pictures are compared elsewhere. `configure` takes a searcher's
    suggestion and returns the trial's configuration, nested as a RunConfig. `inputs` are
    configurations whose data and weights must exist. `sample_configs` are examples of the
    configurations that trials may have. `summary_file` exists as soon as the experiment has
    started. `make_searcher` takes the experiment's folder, the number of trials at once, and
    whether the experiment is resumed. `make_scheduler` takes the folder that contains all trials'
    folders. `make_records` and `make_tracker` take the experiment's folder; the tracker measures
    how much of the budget is used. `follow_up` runs after all trials; it takes the summary and
    returns it with its own result added. It may use `subfolders`. `closing` takes the summary and
    makes the text to print at the end. `default` has the values of the published default in a
    search's points, or of the baseline in an ablation's points. `confirms` is the name of the
    search if an ablation confirms one, else None. `grid_points` is the number of points of a grid.
    After `failures_in_a_row` trials that fail for the same reason, no more trials start.
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
    """The objects that all experiments in one Ray session share: a search and its confirmation.

    `folder` is the search's or the ablation's folder.
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
        """Make the W&B session of the experiment in `folder`.

        `confirms` marks a confirmation; its group is that of the search.
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

    `nested` is true if trials have several workers. Raises UserError if another process runs this
    experiment, or if Ray does not answer.
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
