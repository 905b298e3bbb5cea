"""Wrap the parts of Ray that are private, undocumented or different in other versions of Ray.

Comments and docstrings say why each part is needed and why Ray's public functions are not enough.
`tests/test_compat.py` checks each part with the installed Ray. If Ray changes, a test fails and
says what no longer works.
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

from ray import _raylet
from ray._private import ray_constants
from ray._private.utils import get_num_cpus
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
from fastgan_ray.files import write_atomically

# A searcher returns this when there are no more trials. It is a string, although `suggest` is
# declared to return a dict.
FINISHED = cast(dict[str, Any], Searcher.FINISHED)

# Keys that Ray adds to each result. Ray's own list AUTO_RESULT_KEYS lacks two of these keys.
RESULT_KEYS = {*AUTO_RESULT_KEYS, "done", "iterations_since_restore"}

# The signal that stops Ray Tune; Ray has no public function that stops `tune.run`. Ray's handler of
# Ctrl-C would do the same, but our own handler replaces it (TUNE_DISABLE_SIGINT_HANDLER).
STOP_SIGNAL = signal.SIGUSR1

# Environment variables that Ray reads. Except RAY_USAGE_STATS_*, only Ray's source documents them.
SETTINGS = {
    # glibc reads this variable, not Ray. A trial trains in a thread. With a single arena, glibc
    # reuses the memory that this thread frees, as in a main thread (see train/device.py).
    "MALLOC_ARENA_MAX": "1",
    "RAY_AIR_NEW_OUTPUT": "0",  # Ray's new output prints to the terminal even with verbose=0
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a trial keeps the working directory of the search
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # the last row of a diverged trial has no metric
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # Ray asks the workers for reports every 0.2 s
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # hide all GPUs from a trial that has none
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
}
STATE_PERIOD = "TUNE_GLOBAL_CHECKPOINT_S"  # seconds between two writes of Tune's state
THREAD_TIMEOUT = "TUNE_FUNCTION_THREAD_TIMEOUT_S"  # seconds that a stopped trial's thread may take
TOKEN_LOADER: Any = vars(_raylet)["AuthenticationTokenLoader"]
AUTH_TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105 - a variable's name
DASHBOARD = "RAY_API_SERVER_ADDRESS"  # where Ray Train's controller finds the dashboard

# The state files that Ray Tune writes beside the trials' folders. A restore reads only these.
EXPERIMENT_STATE = TuneController.CKPT_FILE_TMPL.format("*")
STATE_FILES = (
    EXPERIMENT_STATE,
    Searcher.CKPT_FILE_TMPL.format("*"),
    SearchGenerator.CKPT_FILE_TMPL.format("*"),
)

_UNRESOLVED_CONFIG = "_Trial__unresolved_config"  # Ray's second copy of a trial's configuration

LOW_ON_MEMORY = "low on memory"  # part of the message of Ray's memory monitor

# `ray up` writes this file on the head node. Only it says what Ray's autoscaler can still start.
CLUSTER_CONFIG = Path("~/ray_bootstrap_config.yaml")


class TrialLike(Protocol):
    """The attributes of `ray.tune.experiment.Trial` that we use. Ray does not document them."""

    trial_id: str
    config: dict[str, Any]
    status: str

    @property
    def has_reported_at_least_once(self) -> bool:
        """True if the trial has reported a result.

        If it is false, reading `last_result` waits for the trial's process.
        """

    @property
    def last_result(self) -> dict[str, Any]:
        """The latest result; empty before the first result."""


class NamedTrialGenerator(SearchGenerator):
    """Generates trials as Ray does, but gives each trial the id `name(trial)`.

    Ray's own ids are random, and a searcher cannot choose them. If `resuming` is true and Ray
    cannot restore the saved state, no new search starts, because it would overwrite the results.
    `ran_out_of_memory` takes a trial's id, and returns whether low memory ended the trial's
    process. After a resume, at most `trial_count` trials run; None means the saved number. No trial
    starts after `ended` has returned true.
    """

    def __init__(
        self,
        searcher: Searcher,
        name: Callable[[Trial], str],
        resuming: bool = False,
        ran_out_of_memory: Callable[[str], bool] = lambda trial_id: False,
        trial_count: int | None = None,
        ended: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(searcher)
        self._name = name
        self._resuming = resuming
        self._ran_out_of_memory = ran_out_of_memory
        self._trial_count = trial_count
        self._ended = ended

    def add_configurations(self, experiments: Any) -> None:  # noqa: ANN401 - Ray's signature
        """Start a new search; Ray calls this method if it has not restored a saved state.

        Raises UserError if the search should resume: Ray could not read the saved state.
        """
        if self._resuming:
            raise UserError(
                "--resume: the saved state of the search cannot be read. The results of the search "
                "are intact. Start another run with --name."
            )
        super().add_configurations(experiments)

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore the state of a search; `trial_count` replaces the saved number of trials."""
        count = state["total_samples"] if self._trial_count is None else self._trial_count
        super().set_state({**state, "total_samples": count, "finished": False})

    def create_trial_if_possible(self, experiment_spec: dict[str, Any]) -> Trial | None:
        """Return the next trial; None if no trial can start now, or if `ended` returns true."""
        if self._ended():
            self._finished = True
            return None
        trial = super().create_trial_if_possible(experiment_spec)
        if trial is not None:
            trial.trial_id = self._name(trial)
        return trial

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the searcher how a trial ended.

        If Ray ended the trial's process because memory was low, the searcher gets the outcome
        "out_of_memory" instead of an error.
        """
        if error and self._ran_out_of_memory(trial_id):
            result, error = {"outcome": "out_of_memory"}, False
        super().on_trial_complete(trial_id, result, error)


@contextlib.contextmanager
def every_death_is_an_actor_error() -> Iterator[None]:
    """Within this context, make Ray Tune restart a trial after any death of its process.

    Ray Tune handles only two errors: an actor that died, and a task that raised an exception. If
    Ray's memory monitor ends a process, Ray raises a third error. Then Ray Tune would end the whole
    search.
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
    """Set how often the trial's process died; Ray compares this number with `max_failures`.

    Ray itself can only increase this number.
    """
    trial.run_metadata.num_failures = count
    write_again: Callable[[], None] = trial.run_metadata.invalidate_cache
    write_again()


def last_failure(trial: TrialLike) -> str:
    """Return the text of a trial's last failure; "" if there is none.

    Ray writes failures only to the trial's error file, where each failure has a heading.
    """
    path = getattr(trial, "error_file", None)
    if not path or not Path(path).is_file():
        return ""
    return Path(path).read_text(errors="replace").rpartition("Failure # ")[2].strip()


def trial_gpus(trial: Trial) -> float:
    """Return the number of GPUs that Ray Tune has reserved for a trial; it may be a fraction."""
    reserved = trial.placement_group_factory
    return float(reserved.required_resources.get("GPU", 0.0)) if reserved else 0.0


def state_folder(trial: Trial) -> Path:
    """Return the folder where Ray Tune writes STATE_FILES; `trial` is any trial of the search."""
    assert trial.storage is not None
    return Path(trial.storage.experiment_driver_staging_path)


def terminated_trials(experiment_state: Path) -> set[str]:
    """Return the ids of the trials that have ended and that a restore does not run again.

    `experiment_state` is a file whose name matches EXPERIMENT_STATE.
    """
    trials = json.loads(experiment_state.read_text())["trial_data"]
    records = (json.loads(record) for record, _ in trials)
    return {record["trial_id"] for record in records if record["status"] == "TERMINATED"}


def change_configs(
    experiment_state: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """In Ray's state file, change the configurations of the trials that have not ended.

    `experiment_state` is a file whose name matches EXPERIMENT_STATE. `change` takes a trial's old
    configuration and returns the new one. The change is needed if a resumed search has other
    resources than before, because Ray computes a trial's resources from this file.
    """
    state = json.loads(experiment_state.read_text())
    trials = []
    for text, metadata in state["trial_data"]:
        record = json.loads(text)
        if record["status"] != "TERMINATED":
            record["config"] = record[_UNRESOLVED_CONFIG] = change(record["config"])
        trials.append([json.dumps(record, indent=2), metadata])
    write_atomically(experiment_state, json.dumps({**state, "trial_data": trials}, indent=2))


def prepare_process(
    trainable: Callable[[dict[str, Any]], None], prepare: Callable[[], None]
) -> None:
    """Make Ray call `prepare` in the main thread of each process that runs `trainable`.

    Ray runs the function `trainable` in another thread, but signal handlers can be set only in the
    main thread. Ray turns the function into a class. The base classes of this class are in the
    function's attribute `__mixins__`, and their method `setup` runs in the main thread.
    """

    class Prepared(FunctionTrainable):
        def setup(self, config: dict[str, Any]) -> None:
            prepare()
            setup: Callable[[dict[str, Any]], None] = super().setup
            setup(config)

    trainable.__mixins__ = (Prepared,)  # type: ignore[attr-defined]


@contextlib.contextmanager
def on_loopback() -> Iterator[None]:
    """Make Ray listen on 127.0.0.1 only, if Ray starts within this context.

    This is Ray's default on macOS and Windows. On Linux, Ray listens on all addresses of the
    machine, and no argument of `ray.init` changes that. An environment variable changes it for the
    processes that Ray starts. In this process, Ray has already read the variable into a constant,
    so the constant is also changed.
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


def core_count() -> float:
    """Return the number of CPU cores that Ray would find on this machine or in this container.

    Ray has no public function that returns this number before Ray has started.
    """
    return float(get_num_cpus(override_docker_cpu_warning=True))


def startable_nodes(cluster_config: Path = CLUSTER_CONFIG) -> list[dict[str, float]]:
    """Return the resources of each machine that the autoscaler can start for waiting trials.

    Returns [] if the cluster's configuration does not exist or cannot be read.
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
