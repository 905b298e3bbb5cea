"""Run a trial with several workers; the trial's process starts the workers with Ray Train.

A row is one evaluation. The first worker writes the rows to the trial's folder, and waits. The
trial's process reads the rows and passes them to Ray Tune. Then it writes the number of rows that
the search has handled, and the workers continue. Ray's own callback for this purpose is not used.
This callback has a queue with room for only one row, and the row may still be in the queue when the
training ends. Also, the workers would not wait for the search.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import ray.tune
from filelock import FileLock
from ray.train import FailureConfig, ScalingConfig, TrainingFailedError
from ray.train import RunConfig as TrainRunConfig
from ray.train.torch import TorchConfig, TorchTrainer
from torch.distributed import DistError

from fastgan_ray.distributed import PeerFailedError, TorchGroup
from fastgan_ray.errors import InterruptedRunError
from fastgan_ray.files import write_atomically
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.tune.driver.retries import MAX_DEATHS
from fastgan_ray.tune.trial.compat import ResourceRelease
from fastgan_ray.tune.trial.folder import cut_log, has_ended, resume_kimg, write_rows
from fastgan_ray.tune.trial.objective import Task
from fastgan_ray.tune.trial.outcome import classify, is_no_result
from fastgan_ray.tune.trial.pbt import TakeOverError, read_orders
from fastgan_ray.tune.trial.reporters import DECIDED, SECONDS_BETWEEN_LOOKS, WorkerReporter
from fastgan_ray.tune.trial.resume import ResumeState, resume_state

# While the first worker evaluates, the other workers wait in a collective call.
LONGEST_EVALUATION_S = 24 * 3600


class WorkersLostError(RuntimeError):
    """Raised if workers have died again after `MAX_DEATHS` restarts."""


def run_workers(
    task: Task, state: ResumeState, resources: dict[str, float], send: Callable[[], None]
) -> None:
    """Run a trial's workers until the trial ends, and report their rows to Ray Tune.

    A row is one evaluation. The rows in `state` were already reported and are not reported again.
    `resources` are the resources of each worker. `send` copies the trial's files to the remote
    storage. If a worker dies, all workers start again from the newest checkpoint.

    Raises WorkersLostError if a worker dies again after MAX_DEATHS restarts. Raises TakeOverError
    if the search orders the trial to take over another trial's weights. Raises InterruptedRunError
    if the workers have saved their state and stopped.
    """
    folder, reported, orders = task.folder, len(state.rows), len(read_orders(task.folder))
    write_atomically(folder / DECIDED, str(reported))
    for _ in range(MAX_DEATHS + 1):
        training = _Training(_trainer(task, state.config.resources.workers, resources))
        while training.is_alive():
            training.join(SECONDS_BETWEEN_LOOKS)
            reported = _report_rows(folder, reported, send)
        reported = _report_rows(folder, reported, send, workers_ended=True)
        if training.failure is None or has_ended(read_rows(folder)):
            _raise_unless_ended(folder, orders)
            return
        if not isinstance(training.failure, TrainingFailedError):
            raise training.failure
    last = " ".join(str(training.failure).split())
    raise WorkersLostError(f"a worker died {MAX_DEATHS + 1} times; the last error was: {last}")


def _raise_unless_ended(folder: Path, orders: int) -> None:
    """Raise an error if the workers have stopped before the trial's end.

    `folder` is the trial's folder. `orders` is the number of orders that the trial already had when
    its workers started. If there are more orders now, the error is TakeOverError, because an order
    tells the trial to take over another trial's weights. Otherwise it is InterruptedRunError.
    """
    if len(read_orders(folder)) > orders:
        raise TakeOverError
    if not has_ended(read_rows(folder)):
        raise InterruptedRunError("the workers have saved their state and stopped")


def _trainer(task: Task, workers: int, resources: dict[str, float]) -> TorchTrainer:
    return TorchTrainer(
        work,
        train_loop_config={"task": task},
        torch_config=TorchConfig(timeout_s=LONGEST_EVALUATION_S),
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=resources["GPU"] > 0, resources_per_worker=resources
        ),
        run_config=TrainRunConfig(
            name=task.folder.name,
            storage_path=str(task.folder.parent),
            failure_config=FailureConfig(max_failures=0),
            callbacks=[cast(Any, ResourceRelease())],
        ),
    )


class _Training(threading.Thread):
    """A thread that runs Ray Train. It is a daemon thread, so the process can end before it."""

    def __init__(self, trainer: TorchTrainer) -> None:
        super().__init__(daemon=True)
        self.failure: Exception | None = None
        self._trainer = trainer
        self.start()

    def run(self) -> None:
        """Run the workers until they end; if they fail, store the exception in `failure`."""
        try:
            self._trainer.fit()
        except Exception as error:
            self.failure = error


def _report_rows(
    folder: Path, reported: int, send: Callable[[], None], workers_ended: bool = False
) -> int:
    """Pass new rows to Ray Tune; return the number of rows that Ray Tune has now.

    Ray Tune already has the first `reported` rows. The last row of a trial is passed only if
    `workers_ended` is true, because Ray may end this process after that row.
    """
    for row in read_rows(folder)[reported:]:
        if has_ended([row]) and not workers_ended:
            break
        send()
        ray.tune.report(row)
        reported += 1
        write_atomically(folder / DECIDED, str(reported))
    return reported


def work(arguments: dict[str, Task]) -> None:
    """Run one worker of a trial, within Ray Train.

    `arguments` is {"task": the trial}. If the worker fails, the trial's last row says why.
    """
    task, group = arguments["task"], TorchGroup()
    is_first = group.rank == 0
    # Workers of a killed trial may still run for a moment while new workers start here.
    with FileLock(task.folder / ".workers.lock") if is_first else contextlib.nullcontext():
        # Wait for all workers. After that, no old worker writes to the folder any more, and all new
        # workers read the same files.
        group.any(False)
        state = resume_state(task)
        if state is None:
            return
        orders = len(read_orders(task.folder))
        reporter = WorkerReporter(task.folder, task.metric, state.config.train.total_kimg)
        if is_first:
            cut_log(task.folder, resume_kimg(task.folder))
            write_rows(task.folder, state.rows)
        try:
            task.objective(state.config, reporter, state.checkpoint, group)
        except (TakeOverError, InterruptedRunError):
            return
        except (PeerFailedError, DistError):
            if len(read_orders(task.folder)) > orders:
                return
            raise  # another worker has died, or has failed and reports its own error
        except Exception as error:
            if not is_no_result(error):
                _end(task.folder, reporter, error)
            raise


def _end(folder: Path, reporter: WorkerReporter, error: Exception) -> None:
    """Write a last row that says why the trial ended, unless another worker has written one."""
    with FileLock(folder / ".end.lock"):
        if not has_ended(read_rows(folder)):
            reporter.end(*classify(error))
