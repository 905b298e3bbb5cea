"""A trial with several workers: Ray Train runs them, from inside the trial's process.

The first worker writes the rows to the trial's folder. The process that waits for all of them
passes the rows to Ray Tune, and notes how many are decided on before the workers continue. (Ray's
own callback for this passes rows through a queue of one, which may still hold the last row when
training ends, and the workers do not wait.)
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

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
from fastgan_ray.tune.trial.folder import has_ended, write_rows
from fastgan_ray.tune.trial.objective import Task
from fastgan_ray.tune.trial.outcome import classify, is_no_result
from fastgan_ray.tune.trial.pbt import TakeOverError, read_orders
from fastgan_ray.tune.trial.reporters import DECIDED, SECONDS_BETWEEN_LOOKS, WorkerReporter
from fastgan_ray.tune.trial.resume import ResumeState, resume_state

# The other workers wait in a collective call for as long as the first one evaluates.
LONGEST_EVALUATION_S = 24 * 3600


class WorkersLostError(RuntimeError):
    """Workers died again after each restart."""


def run_workers(
    task: Task, state: ResumeState, resources: dict[str, float], send: Callable[[], None]
) -> None:
    """Continue a trial with its workers, which take `resources` each; report their rows.

    Ray Tune knows the rows in `state`; `send` copies the trial's files to the remote storage. When
    a worker dies, all start again from the newest checkpoint; WorkersLostError after MAX_DEATHS of
    these. TakeOverError if the search orders so, InterruptedRunError if it stops.
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
    raise WorkersLostError(f"a worker died {MAX_DEATHS + 1} times, the last time with: {last}")


def _raise_unless_ended(folder: Path, orders: int) -> None:
    """Say why workers returned: `orders` is how many orders the trial had when they started."""
    if len(read_orders(folder)) > orders:
        raise TakeOverError
    if not has_ended(read_rows(folder)):
        raise InterruptedRunError("the workers have saved, and stopped")


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
        ),
    )


class _Training(threading.Thread):
    """Ray Train's run, in a thread that ends with the process whatever it is doing."""

    def __init__(self, trainer: TorchTrainer) -> None:
        super().__init__(daemon=True)
        self.failure: Exception | None = None
        self._trainer = trainer
        self.start()

    def run(self) -> None:
        """Wait until the workers have ended."""
        try:
            self._trainer.fit()
        except Exception as error:
            self.failure = error


def _report_rows(
    folder: Path, reported: int, send: Callable[[], None], workers_ended: bool = False
) -> int:
    """Pass the rows after the first `reported` to Ray Tune; return how many it has decided on.

    The row of the trial's end must wait until the workers have ended: this process may end with it.
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
    """Run one worker of a trial. If it goes wrong, the trial's last row says why."""
    task, group = arguments["task"], TorchGroup()
    is_first = group.rank == 0
    # Workers of a killed trial may live on for a moment while new ones start here.
    with FileLock(task.folder / ".workers.lock") if is_first else contextlib.nullcontext():
        group.any(False)  # from here on nobody else writes to the folder, and all see the same
        state = resume_state(task)
        if state is None:
            return
        orders = len(read_orders(task.folder))
        reporter = WorkerReporter(task.folder, task.metric, state.config.train.total_kimg)
        if is_first:
            write_rows(task.folder, state.rows)
        try:
            task.objective(state.config, reporter, state.checkpoint, group)
        except (TakeOverError, InterruptedRunError):
            return
        except (PeerFailedError, DistError):
            if len(read_orders(task.folder)) > orders:
                return
            raise  # another worker has died, or writes itself what went wrong
        except Exception as error:
            if not is_no_result(error):
                _end(task.folder, reporter, error)
            raise


def _end(folder: Path, reporter: WorkerReporter, error: Exception) -> None:
    """Write why the trial ended, unless another worker has."""
    with FileLock(folder / ".end.lock"):
        if not has_ended(read_rows(folder)):
            reporter.end(*classify(error))
