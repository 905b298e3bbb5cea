"""What a search, an ablation and a confirmation have in common: options, trials, a Ray session."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from rich.console import Console, RenderableType

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.tune.driver.budget import BudgetTracker
from fastgan_ray.tune.driver.records import TrialRecords
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
    """How and where trials run; a SearchSpec or an AblationSpec says which.

    `storage_uri` is where `runs_dir` is copied to, and where `resume` fetches it from: machines
    then need no shared folder. `disk_gb` is what all checkpoints together may take. `warm_start`
    is the folder of another search whose trials this one starts from.
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


@dataclass(frozen=True)
class Experiment:
    """What sets one experiment apart from another.

    `text` is its file, and `overrides` what the command adds to it (JSON-able): a resumed run needs
    the same. `inputs` are configurations whose data and weights must exist; `sample_configs` are
    some that trials may have. `summary_file` exists once it has started. `make_tracker` counts what
    it uses of a budget. `follow_up` runs when every trial has ended, and returns the summary with
    its result; it may use `subfolders`. `closing` is what to print at the end.
    """

    kind: Literal["search", "ablation"]
    name: str
    text: str
    overrides: Mapping[str, Any]
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


@dataclass(frozen=True)
class ExperimentContext:
    """What experiments share that run one after the other in the same Ray session."""

    options: TuneOptions
    nodes: Sequence[Resources]
    objective: Objective
    console: Console
    driver: DriverStop
    storage: RemoteStorage | None = None
    sync: DriverSync | None = None

    def wandb_session(self, folder: Path, group: str) -> Session:
        """Make the W&B runs of the experiment in a folder."""
        return Session(folder, project_name(os.environ), group, self.options.wandb)


@contextlib.contextmanager
def experiment_context(
    folder: Path,
    options: TuneOptions,
    objective: Objective,
    console: Console,
    nested: bool,
    storage: RemoteStorage | None = None,
) -> Iterator[ExperimentContext]:
    """Lock the folder, take signals and connect to Ray; `nested`: trials have several workers.

    UserError if another process runs this experiment, or Ray does not answer.
    """
    with (
        only_driver(folder),
        driver_stopping(options.quiet) as driver,
        silenced(folder / "ray.log"),
        connected(options.address, nested) as nodes,
    ):
        driver.listen()  # again: Ray takes SIGTERM when it starts
        sync = DriverSync(storage, folder) if storage else None
        yield ExperimentContext(options, nodes, objective, console, driver, storage, sync)
