"""A trial of several workers: Ray Train runs them, from inside the trial's process.

The first worker writes the rows to the trial's folder, and the process that waits for all of them
hands them to Ray Tune from there. (Ray's own callback for this passes them through a queue of one,
in which the last may be left when training ends.)
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import ray.tune
from ray.train import FailureConfig, ScalingConfig, TrainingFailedError
from ray.train import RunConfig as TrainRunConfig
from ray.train.torch import TorchConfig, TorchTrainer
from torch.distributed import DistError

from fastgan_ray.config.schema import RunConfig
from fastgan_ray.group import PeerFailedError, TorchGroup
from fastgan_ray.report.rows import read_rows
from fastgan_ray.tune.history import Row, has_ended, locked, resume_point
from fastgan_ray.tune.trainable import (
    MAX_DEATHS,
    Objective,
    RowReporter,
    TuneReporter,
    classify,
)

SECONDS_BETWEEN_LOOKS = 0.2
# The others wait in a message for as long as the first worker evaluates.
LONGEST_EVALUATION_S = 24 * 3600


class WorkersLostError(RuntimeError):
    """Workers that died, and were started again too often."""


def run_workers(
    config: RunConfig,
    reporter: TuneReporter,
    metric: str,
    objective: Objective,
    needs: dict[str, float],
) -> None:
    """Have workers, which take `needs` each, do `objective`; report their rows.

    When one dies, all of them start again from the newest checkpoint; WorkersLostError after
    MAX_DEATHS of these.
    """
    given = {
        "run": config.model_dump(),
        "folder": str(reporter.folder),
        "metric": metric,
        "objective": objective,
    }
    told = len(read_rows(reporter.folder))
    for _ in range(MAX_DEATHS + 1):
        trainer = TorchTrainer(
            work,
            train_loop_config=given,
            torch_config=TorchConfig(timeout_s=LONGEST_EVALUATION_S),
            scaling_config=ScalingConfig(
                num_workers=config.resources.workers,
                use_gpu=needs["GPU"] > 0,
                resources_per_worker=needs,
            ),
            run_config=TrainRunConfig(
                name=reporter.folder.name,
                storage_path=str(reporter.folder.parent),
                failure_config=FailureConfig(max_failures=0),
            ),
        )
        fitting = _Fitting(trainer)
        while fitting.is_alive():
            fitting.join(SECONDS_BETWEEN_LOOKS)
            told = _tell(reporter.folder, told)
        if fitting.failure is None or has_ended(read_rows(reporter.folder)):
            return
        if not isinstance(fitting.failure, TrainingFailedError):
            raise fitting.failure
    assert fitting.failure is not None
    last = " ".join(str(fitting.failure).split())
    raise WorkersLostError(f"a worker died again and again, the last time so: {last}")


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


def _tell(folder: Path, told: int) -> int:
    """Hand the rows after the first `told` to Ray Tune; how many it knows then."""
    rows: list[Row] = read_rows(folder)
    for row in rows[told:]:
        ray.tune.report(row)
    return max(told, len(rows))


def work(given: dict[str, Any]) -> None:
    """One worker of a trial. What goes wrong in it stands in the trial's last row."""
    config, folder = RunConfig.model_validate(given["run"]), Path(given["folder"])
    group = TorchGroup()
    reporter = RowReporter(folder, given["metric"], config.train.total_kimg)
    # Workers of a killed trial may live on for a moment while new ones start here.
    first = group.rank == 0
    with locked(folder / ".workers.lock") if first else contextlib.nullcontext():
        group.any(False)  # now nobody writes there, and all see the same
        rows, checkpoint = resume_point(folder)
        if first:
            reporter.repeat(rows)
        try:
            given["objective"](config, reporter, checkpoint, group)
        except (PeerFailedError, DistError):
            raise  # another has died, or says itself what went wrong
        except Exception as error:
            with locked(folder / ".end.lock"):
                if not has_ended(read_rows(folder)):
                    reporter.end(*classify(error))
            raise
