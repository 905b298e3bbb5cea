"""Make the function that Ray runs for each trial.

The function continues a trial from the state in the trial's folder.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray.tune
from filelock import FileLock

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import InterruptedRunError
from fastgan_ray.train.signals import listen
from fastgan_ray.tune.driver.bad_machines import note_place
from fastgan_ray.tune.ray.compat import THREAD_TIMEOUT, prepare_process
from fastgan_ray.tune.storage.remote import RemoteStorage
from fastgan_ray.tune.storage.sync import TrialSync
from fastgan_ray.tune.trial.folder import (
    LOCK,
    REPEATED,
    cut_log,
    reset_if_other_point,
    resume_kimg,
    resume_point,
    trial_name,
    write_rows,
)
from fastgan_ray.tune.trial.objective import Objective, Task
from fastgan_ray.tune.trial.outcome import classify, is_no_result
from fastgan_ray.tune.trial.pbt import TakeOverError
from fastgan_ray.tune.trial.reporters import STOP, TuneReporter
from fastgan_ray.tune.trial.resume import ResumeState, resume_state

# The seconds that a stopped trial's thread may take to end before the next trial uses its process.
# Ray's default is 2 s; if the thread needs longer, the next trial fails.
THREAD_TIMEOUT_S = "60"

WorkerResources = Callable[[RunConfig, int], dict[str, float]]


def make_trainable(
    trials: Path,
    metric: str,
    objective: Objective,
    worker_resources: WorkerResources,
    storage: RemoteStorage | None = None,
) -> Callable[[dict[str, Any]], None]:
    """Return the function that Ray runs for each trial.

    The function takes the searcher's suggestion {"number", "point", "run"}. Most errors in a trial
    are reported as the trial's outcome. But if the disk is full, the machine has a fault or the
    process dies, Ray starts the trial again.

    `trials` is the folder that contains all trials' folders. `metric` is the metric's name.
    `worker_resources` takes a trial's configuration and number, and returns the resources of each
    worker. The trial's files are copied to `storage`, unless it is None.
    """

    def trial(suggestion: dict[str, Any]) -> None:
        folder = trials / trial_name(suggestion["number"])
        folder.mkdir(parents=True, exist_ok=True)
        task = Task(suggestion, folder, metric, objective)
        sync = TrialSync(storage, trials.parent, folder.name)
        # If the driver was killed, the trial's old process may still run for some seconds.
        with FileLock(folder / LOCK):
            sync.fetch()
            reset_if_other_point(folder, suggestion["point"])
            note_place(folder)
            sync.send_place()
            repeat_rows(folder)
            while (state := resume_state(task)) and _run(task, state, worker_resources, sync):
                pass

    prepare_process(trial, take_signals)
    return trial


def take_signals() -> None:
    """Let a trial save its state and stop when its process gets SIGTERM, SIGINT or SIGHUP.

    For example, the process gets SIGTERM when a spot machine shuts down.
    """
    listen(STOP, lambda stop: None)
    os.environ[THREAD_TIMEOUT] = THREAD_TIMEOUT_S


def repeat_rows(folder: Path) -> None:
    """Report the rows of a trial's earlier process again, because the search may lack some of them.

    A row is one evaluation. All rows except the last one get the mark REPEATED, because the trial
    has already continued after them. When the search gets a row with this mark, it must not stop
    the trial or change its weights.
    """
    rows, _ = resume_point(folder)
    cut_log(folder, resume_kimg(folder))
    write_rows(folder, rows)
    for number, row in enumerate(rows, 1):
        ray.tune.report(row if number == len(rows) else {**row, REPEATED: True})


def _limit_memory(resources: dict[str, float]) -> None:
    """Limit the GPU memory of this process to the fraction of a GPU in `resources`.

    Do nothing if the trial uses whole GPUs, or none.
    """
    if 0 < resources["GPU"] < 1:
        from fastgan_ray.train.device import limit_gpu_memory  # imports PyTorch

        limit_gpu_memory(resources["GPU"])


def _run(
    task: Task, state: ResumeState, worker_resources: WorkerResources, sync: TrialSync
) -> bool:
    """Run a trial to its end; return True if it must continue with another trial's weights."""
    reporter = TuneReporter(task.folder, task.metric, state.config.train.total_kimg, sync)
    resources = worker_resources(state.config, task.suggestion["number"])
    try:
        if state.config.resources.nested:
            from fastgan_ray.tune.trial.workers import run_workers  # few trials need Ray Train

            run_workers(task, state, resources, sync.send)
        else:
            _limit_memory(resources)
            task.objective(state.config, reporter, state.checkpoint)
    except TakeOverError:
        return True
    except InterruptedRunError:
        # The trial has saved its state. End this process as if it had been killed, so that the
        # driver or a later resume starts the trial again.
        sync.send()
        os._exit(128 + signal.SIGTERM)
    except Exception as error:
        if is_no_result(error):  # Ray tries again, in a new process
            raise
        reporter.end(*classify(error))
    return False
