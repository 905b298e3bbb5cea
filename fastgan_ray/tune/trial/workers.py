"""A trial of several workers: Ray Train runs them, from inside the trial's process.

The first worker writes the rows to the trial's folder; the process that waits for all of them hands
them to Ray Tune from there, and notes how many are decided on before the workers go on. (Ray's own
callback for this passes rows through a queue of one, in which the last may be left when training
ends, and the workers go on at once.)
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.tune
from filelock import FileLock
from ray.train import FailureConfig, ScalingConfig, TrainingFailedError
from ray.train import RunConfig as TrainRunConfig
from ray.train.torch import TorchConfig, TorchTrainer
from torch.distributed import DistError

from fastgan_ray.distributed import PeerFailedError, TorchGroup
from fastgan_ray.errors import InterruptedRunError, full_disk
from fastgan_ray.files import write_atomically
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.tune.driver.retries import MAX_DEATHS
from fastgan_ray.tune.pbt import TakeOverError, read_orders
from fastgan_ray.tune.trial.folder import Outcome, Row, has_ended, write_rows
from fastgan_ray.tune.trial.trainable import Objective, RowReporter, classify, resume_state

SECONDS_BETWEEN_LOOKS = 0.1
DECIDED = "decided.txt"
# The others wait in a message for as long as the first worker evaluates.
LONGEST_EVALUATION_S = 24 * 3600


@dataclass(frozen=True)
class Task:
    """What the workers are to do: a trial as the searcher suggests it, and its folder."""

    suggestion: Mapping[str, Any]
    folder: Path
    metric: str
    objective: Objective


class WorkersLostError(RuntimeError):
    """Workers that died, and were started again too often."""


def run_workers(
    task: Task, workers: int, needs: dict[str, float], told: int, send: Callable[[], None]
) -> None:
    """Have so many workers, which take `needs` each, go on with a trial; report their rows.

    Ray Tune knows the first `told` rows; `send` keeps the trial's files elsewhere too. When a
    worker dies, all start again from the newest checkpoint; WorkersLostError after MAX_DEATHS of
    these. TakeOverError if the search orders so, InterruptedRunError if it stops.
    """
    folder, given = task.folder, len(read_orders(task.folder))
    write_atomically(folder / DECIDED, str(told))
    for _ in range(MAX_DEATHS + 1):
        max_concurrent = _Fitting(_trainer(task, workers, needs))
        while max_concurrent.is_alive():
            max_concurrent.join(SECONDS_BETWEEN_LOOKS)
            told = _tell(folder, told, send)
        told = _tell(folder, told, send, over=True)
        if max_concurrent.failure is None or has_ended(read_rows(folder)):
            if len(read_orders(folder)) > given:
                raise TakeOverError
            if not has_ended(read_rows(folder)):
                raise InterruptedRunError("the workers have saved, and stopped")
            return
        if not isinstance(max_concurrent.failure, TrainingFailedError):
            raise max_concurrent.failure
    last = " ".join(str(max_concurrent.failure).split())
    raise WorkersLostError(f"a worker died again and again, the last time so: {last}")


def _trainer(task: Task, workers: int, needs: dict[str, float]) -> TorchTrainer:
    return TorchTrainer(
        work,
        train_loop_config={"task": task},
        torch_config=TorchConfig(timeout_s=LONGEST_EVALUATION_S),
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=needs["GPU"] > 0, resources_per_worker=needs
        ),
        run_config=TrainRunConfig(
            name=task.folder.name,
            storage_path=str(task.folder.parent),
            failure_config=FailureConfig(max_failures=0),
        ),
    )


class _Fitting(threading.Thread):
    """Ray Train's run, which ends with the process whatever it is doing."""

    def __init__(self, trainer: TorchTrainer) -> None:
        super().__init__(daemon=True)
        self.failure: Exception | None = None
        self._trainer = trainer
        self.start()

    def run(self) -> None:
        """Until the workers have ended."""
        try:
            self._trainer.fit()
        except Exception as error:
            self.failure = error


def _tell(folder: Path, told: int, send: Callable[[], None], over: bool = False) -> int:
    """Hand the rows after the first `told` to Ray Tune; how many it has decided on then.

    The row of a trial's end only when the workers are `over`: this process may end with it.
    """
    rows: list[Row] = read_rows(folder)
    for row in rows[told:]:
        if has_ended([row]) and not over:
            break
        send()
        ray.tune.report(row)
        told += 1
        write_atomically(folder / DECIDED, str(told))
    return told


class WorkerReporter(RowReporter):
    """Writes the rows of several workers, and lets them go on when the search has decided."""

    def _hand_over(
        self, metrics: Mapping[str, Any], outcome: Outcome, checkpoint: Path, reason: str
    ) -> Row:
        row = super()._hand_over(metrics, outcome, checkpoint, reason)
        count = len(read_rows(self.folder)) if outcome == "running" else 0
        while int((self.folder / DECIDED).read_text()) < count:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return row


def work(given: dict[str, Task]) -> None:
    """One worker of a trial. What goes wrong in it stands in the trial's last row."""
    task, group = given["task"], TorchGroup()
    # Workers of a killed trial may live on for a moment while new ones start here.
    first = group.rank == 0
    with FileLock(task.folder / ".workers.lock") if first else contextlib.nullcontext():
        group.any(False)  # now nobody writes there, and all see the same
        found = resume_state(task.suggestion, task.folder)
        if found is None:
            return
        config, rows, checkpoint = found
        known = len(read_orders(task.folder))
        reporter = WorkerReporter(task.folder, task.metric, config.train.total_kimg)
        if first:
            write_rows(task.folder, rows)
        try:
            task.objective(config, reporter, checkpoint, group)
        except (TakeOverError, InterruptedRunError):
            return
        except (PeerFailedError, DistError):
            if len(read_orders(task.folder)) > known:
                return
            raise  # another has died, or says itself what went wrong
        except Exception as error:
            if full_disk(error):  # it says nothing of the configuration: tried again
                raise
            with FileLock(task.folder / ".end.lock"):
                if not has_ended(read_rows(task.folder)):
                    reporter.end(*classify(error))
            raise
