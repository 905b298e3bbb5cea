"""Everything of Ray that is private, undocumented or bound to its version.

Each entry says why it is needed, and why no public way will do. `tests/test_compat.py` checks each
against the Ray that is installed, and fails with a sentence when Ray changes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, cast
from unittest.mock import patch

from ray._private import ray_constants
from ray.air.execution._internal import RayActorManager
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.execution.tune_controller import TuneController as TuneController
from ray.tune.experiment import Trial
from ray.tune.result import AUTO_RESULT_KEYS
from ray.tune.search import Searcher
from ray.tune.search.search_generator import SearchGenerator
from ray.tune.trainable.function_trainable import FunctionTrainable

from fastgan_ray.errors import UserError

# A searcher's "no more trials". It is a string, but `suggest` is declared to return a dict.
FINISHED = cast(dict[str, Any], Searcher.FINISHED)

# Keys that Ray adds to each result: it has a list of them, and adds two more.
RESULT_KEYS = {*AUTO_RESULT_KEYS, "done", "iterations_since_restore"}

# Ray Tune stops its run at this signal, as it would at Ctrl-C, which we handle ourselves
# (TUNE_DISABLE_SIGINT_HANDLER). There is no public call that stops `tune.run`.
STOP_SIGNAL = signal.SIGUSR1

# Environment variables that Ray reads; documented in its source alone, except RAY_USAGE_STATS_*.
SETTINGS = {
    # Not Ray's but glibc's: a trial trains in a thread, and with one arena the memory that it frees
    # is kept for it as for a main thread (train/device.py).
    "MALLOC_ARENA_MAX": "1",
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints to the terminal in spite of verbose=0
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a trial's paths are relative to where the search started
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # the last row of a diverged trial has no metric
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # how soon the reports of workers arrive
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # A trial without a GPU sees none. Ray 2.60 hides them only if it is asked to.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
}
STATE_PERIOD = "TUNE_GLOBAL_CHECKPOINT_S"  # seconds between two writes of Tune's state
THREAD_TIMEOUT = "TUNE_FUNCTION_THREAD_TIMEOUT_S"  # seconds a stopped trial's thread has to end
AUTH_TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105 - a variable's name
DASHBOARD = "RAY_API_SERVER_ADDRESS"  # where Ray Train's controller finds the dashboard

# What Ray Tune writes of a run, beside its trials' folders: all that a restore reads.
EXPERIMENT_STATE = TuneController.CKPT_FILE_TMPL.format("*")
STATE_FILES = (
    EXPERIMENT_STATE,
    Searcher.CKPT_FILE_TMPL.format("*"),
    SearchGenerator.CKPT_FILE_TMPL.format("*"),
)

LOW_ON_MEMORY = "low on memory"  # in the message of Ray's memory monitor

# What `ray up` leaves on a cluster's head. Ray does not tell in any other way which machines its
# autoscaler may still start.
CLUSTER_CONFIG = Path("~/ray_bootstrap_config.yaml")


class TrialLike(Protocol):
    """The attributes of `ray.tune.experiment.Trial` that we read. It documents none of them."""

    trial_id: str
    config: dict[str, Any]
    status: str

    @property
    def has_reported_at_least_once(self) -> bool:
        """Before that, Ray's `last_result` waits for the trial's process."""

    @property
    def last_result(self) -> dict[str, Any]:
        """The latest result, empty before the first."""


class NamedTrialGenerator(SearchGenerator):
    """Ray's generator of trials, with our trial names in place of Ray's random ids.

    A searcher has no say in the ids, and learns nothing of why a trial's process died.
    `resuming`: Ray must restore the state; it would otherwise start over the old results.
    """

    def __init__(
        self,
        searcher: Searcher,
        name: Callable[[Trial], str],
        resuming: bool = False,
        ran_out_of_memory: Callable[[str], bool] = lambda trial_id: False,
    ) -> None:
        super().__init__(searcher)
        self._name = name
        self._resuming = resuming
        self._ran_out_of_memory = ran_out_of_memory

    def add_configurations(self, experiments: Any) -> None:  # noqa: ANN401 - as Ray has it
        """Start a new search; UserError when one is resumed, as Ray then cannot read its state."""
        if self._resuming:
            raise UserError("--resume: the state of the search cannot be read; its results stand")
        super().add_configurations(experiments)

    def create_trial_if_possible(self, experiment_spec: dict[str, Any]) -> Trial | None:
        """Return the next trial, or None if there is none (yet)."""
        trial = super().create_trial_if_possible(experiment_spec)
        if trial is not None:
            trial.trial_id = self._name(trial)
        return trial

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the searcher how a trial ended: out of memory is an outcome, not an error."""
        if error and self._ran_out_of_memory(trial_id):
            result, error = {"outcome": "out_of_memory"}, False
        super().on_trial_complete(trial_id, result, error)


@contextlib.contextmanager
def every_death_is_an_actor_error() -> Iterator[None]:
    """Make Ray Tune restart a trial whatever ended its process.

    Ray Tune knows actors that died and tasks that raised. When Ray's own memory monitor ends a
    process, that is neither, and Ray ends the whole search.
    """
    original = RayActorManager._actor_task_failed

    def failed(
        manager: RayActorManager, tracked_actor_task: TrackedActorTask, exception: Exception
    ) -> None:
        if isinstance(exception, RayError) and not isinstance(
            exception, RayActorError | RayTaskError
        ):
            exception = RayActorError(error_msg=str(exception))
        original(manager, tracked_actor_task, exception)

    with patch.object(RayActorManager, "_actor_task_failed", failed):
        yield


def set_failure_count(trial: Trial, count: int) -> None:
    """Set how many deaths Ray counts against `max_failures`; it can only count up by itself."""
    trial.run_metadata.num_failures = count
    write_again: Callable[[], None] = trial.run_metadata.invalidate_cache
    write_again()


def last_failure(trial: TrialLike) -> str:
    """Return the text of a trial's last failure, or "".

    Ray adds each failure to the trial's error file, under a heading, and keeps it nowhere else.
    """
    path = getattr(trial, "error_file", None)
    if not path or not Path(path).is_file():
        return ""
    return Path(path).read_text(errors="replace").rpartition("Failure # ")[2].strip()


def trial_gpus(trial: Trial) -> float:
    """Return the GPUs that Ray Tune has reserved for a trial."""
    reserved = trial.placement_group_factory
    return float(reserved.required_resources.get("GPU", 0.0)) if reserved else 0.0


def state_folder(trial: Trial) -> Path:
    """Return the folder where Ray Tune writes `STATE_FILES`; it tells nobody but its trials."""
    assert trial.storage is not None
    return Path(trial.storage.experiment_driver_staging_path)


def terminated_trials(experiment_state: Path) -> set[str]:
    """Return the ids of the trials that a restore does not run again, by a file of Tune's state."""
    trials = json.loads(experiment_state.read_text())["trial_data"]
    records = (json.loads(record) for record, _ in trials)
    return {record["trial_id"] for record in records if record["status"] == "TERMINATED"}


def prepare_process(
    trainable: Callable[[dict[str, Any]], None], prepare: Callable[[], None]
) -> None:
    """Have Ray call `prepare` in the main thread of each process that runs `trainable`.

    Ray runs a function in a thread, where no signal handler can be set; what it mixes into the
    class that it makes of the function runs in the main thread.
    """

    class Prepared(FunctionTrainable):
        def setup(self, config: dict[str, Any]) -> None:
            prepare()
            setup: Callable[[dict[str, Any]], None] = super().setup
            setup(config)

    trainable.__mixins__ = (Prepared,)  # type: ignore[attr-defined]


@contextlib.contextmanager
def on_loopback() -> Iterator[None]:
    """Make a Ray that starts inside listen on 127.0.0.1 only, as it does on macOS and Windows.

    On Linux it listens on all addresses of the machine, and no argument of `ray.init` changes that.
    Ray's processes read the environment variable; this process has read it already.
    """
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before = ray_constants.ENABLE_RAY_CLUSTER, os.environ.get(name)
    ray_constants.ENABLE_RAY_CLUSTER, os.environ[name] = False, "0"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before[0]
        os.environ.pop(name)
        if before[1] is not None:
            os.environ[name] = before[1]


def startable_nodes(cluster_config: Path = CLUSTER_CONFIG) -> list[dict[str, float]]:
    """Return the resources of each machine that the autoscaler starts when trials wait for it.

    Without a cluster's configuration, or with one that cannot be read, there are none.
    """
    try:
        config = json.loads(cluster_config.expanduser().read_text())
        kinds = [kind for kind in config["available_node_types"].values() if kind["resources"]]
        limit = config["max_workers"]
        return [
            {name: float(amount) for name, amount in kind["resources"].items()}
            for number in range(limit)
            for kind in kinds
            if number < kind["max_workers"]
        ][:limit]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []
