"""One trial: a configuration, trained in a process of Ray's, that reports to the search."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import ray.tune
from filelock import FileLock

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.distributed import ALONE, Group
from fastgan_ray.errors import DivergedError, InterruptedRunError, UserError, full_disk
from fastgan_ray.metrics.names import value_of
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.train.reporter import INTERRUPTED, Metrics, Reporter
from fastgan_ray.train.signals import Stop, listen
from fastgan_ray.tune.driver.signals import TrialStop
from fastgan_ray.tune.pbt import TakeOverError, read_orders, remove_weights_of_orders
from fastgan_ray.tune.ray.compat import LOW_ON_MEMORY, THREAD_TIMEOUT, prepare_process
from fastgan_ray.tune.storage.remote import RemoteStorage
from fastgan_ray.tune.storage.sync import TrialSync
from fastgan_ray.tune.trial.folder import (
    LOCK,
    Outcome,
    Row,
    append_row,
    has_ended,
    reset_if_other_point,
    resume_point,
    write_rows,
)

STOP = Stop()  # of this process, in which one trial runs at a time
# Seconds that a stopped trial's thread has to end before the next one may have its process; Ray
# fails that next trial where it takes longer, which is 2 s by default.
THREAD_ENDS = "60"
OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate",
    LOW_ON_MEMORY,
)


class Objective(Protocol):
    """What a trial does; each worker of several is given the group that they are."""

    def __call__(
        self, config: RunConfig, reporter: Reporter, resume_from: Path | None, group: Group = ALONE
    ) -> None:
        """Train as `config` says, from a checkpoint if there is one."""


WorkerNeeds = Callable[[RunConfig], dict[str, float]]


def train_objective(
    config: RunConfig, reporter: Reporter, resume_from: Path | None, group: Group = ALONE
) -> None:
    """Train a generator on as many CPU threads as the trial, or each of its workers, has cores."""
    import torch

    from fastgan_ray.train.device import forget_training
    from fastgan_ray.train.loop import train

    forget_training()  # of a trial before this one, whose process it may be
    torch.set_num_threads(max(1, int(config.resources.cpus)))
    train(config, reporter, resume_from, group)


def trial_id(number: int) -> str:
    """The id of a search's trial number `number`, from 0, and its folder's name: "00003"."""
    return f"{number:05d}"


def take_signals() -> None:
    """Have SIGTERM, as from a spot machine about to go, make the trial save where it is."""
    listen(STOP, lambda stop: None)
    os.environ[THREAD_TIMEOUT] = THREAD_ENDS


class RowReporter:
    """Writes a run's rows to its folder."""

    def __init__(self, folder: Path, metric: str, total_kimg: float) -> None:
        self.folder = folder
        self._stop = TrialStop(STOP, folder.parent)
        self._metric = metric
        self._total_kimg = total_kimg
        self._orders = len(read_orders(folder))

    def report(self, metrics: Metrics, checkpoint: Path) -> None:
        """Report one evaluation. DivergedError on a number that is not finite: Ray sees no NaN.

        TakeOverError if the search then orders the trial to go on from another one's weights.
        """
        for name, value in metrics.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise DivergedError(f"{name} is {value} at {metrics['kimg']} kimg")
        if value_of(metrics, self._metric) is None:
            numbers = ", ".join(key for key, value in metrics.items() if not isinstance(value, str))
            raise UserError(
                f"metric.name: the trial must report {self._metric}, but it reports {numbers}"
            )
        finished = float(metrics["kimg"]) >= self._total_kimg
        self._hand_over(metrics, "finished" if finished else "running", checkpoint, "")
        remove_weights_of_orders(self.folder, self._orders)  # its own checkpoint is newer now
        # Ray lets a trial go on only after it has decided on its report.
        if len(read_orders(self.folder)) > self._orders:
            raise TakeOverError

    def progress(self, kimg: float, seconds: float) -> None:
        """Nothing: between evaluations the search has nothing to decide."""

    def stopping(self) -> bool:
        """Whether this process has had a signal, or the driver stops."""
        return self._stop.asked

    def end(self, outcome: Outcome, reason: str) -> None:
        """Report a last row, without the metric, that says why the trial ended."""
        rows = read_rows(self.folder)
        last: Row = rows[-1] if rows else {"kimg": 0.0, "seconds": 0.0, "checkpoint": "."}
        position = {"kimg": last["kimg"], "seconds": last["seconds"]}
        self._hand_over(position, outcome, self.folder / last["checkpoint"], reason)

    def _hand_over(
        self, metrics: Mapping[str, Any], outcome: Outcome, checkpoint: Path, reason: str
    ) -> Row:
        row = {
            **metrics,
            "total_kimg": self._total_kimg,
            "outcome": outcome,
            "reason": reason,
            "checkpoint": str(checkpoint.relative_to(self.folder)),
            "orders": self._orders,
        }
        append_row(self.folder, row)
        return row


class TuneReporter(RowReporter):
    """Hands a run's rows to its store, if it has one, and to Ray Tune as well."""

    def __init__(self, folder: Path, metric: str, total_kimg: float, mirror: TrialSync) -> None:
        super().__init__(folder, metric, total_kimg)
        self._mirror = mirror

    def _hand_over(
        self, metrics: Mapping[str, Any], outcome: Outcome, checkpoint: Path, reason: str
    ) -> Row:
        row = super()._hand_over(metrics, outcome, checkpoint, reason)
        self._mirror.send()
        ray.tune.report(row)
        return row


def make_trainable(
    trials: Path,
    metric: str,
    objective: Objective,
    worker_needs: WorkerNeeds,
    store: RemoteStorage | None = None,
) -> Callable[[dict[str, Any]], None]:
    """The function that Ray runs for each trial, on {"number", "point", "run"} from the searcher.

    Whatever goes wrong inside is an outcome that it reports; only the death of the process and a
    full disk are left to Ray, which starts the trial again. `worker_needs` is what each worker
    takes, where there are several; `store` is where the trial's files are kept besides.
    """

    def trial(suggestion: dict[str, Any]) -> None:
        folder = trials / trial_id(suggestion["number"])
        folder.mkdir(parents=True, exist_ok=True)
        mirror = TrialSync(store, trials.parent, folder.name)
        # After a killed driver, its trial may live on for seconds while a new one starts here.
        with FileLock(folder / LOCK):
            mirror.fetch()
            reset_if_other_point(folder, suggestion["point"])
            repeat(folder)
            while _goes_on(suggestion, folder, metric, objective, worker_needs, mirror):
                pass

    prepare_process(trial, take_signals)
    return trial


def repeat(folder: Path) -> None:
    """Report the rows of an earlier process again, some of which the search may not have seen."""
    rows, _ = resume_point(folder)
    write_rows(folder, rows)
    for row in rows:
        ray.tune.report(row)


def resume_state(
    suggestion: Mapping[str, Any], folder: Path
) -> tuple[RunConfig, list[Row], Path | None] | None:
    """How a trial goes on: its configuration, its rows so far, the checkpoint; None: it has ended.

    The folder says so, and the last of the search's orders in it.
    """
    given, (rows, checkpoint) = read_orders(folder), resume_point(folder)
    if has_ended(rows):
        return None
    config = RunConfig.model_validate(given[-1]["run"] if given else suggestion["run"])
    stopped_since = checkpoint == folder / INTERRUPTED
    if given and rows and rows[-1]["kimg"] <= given[-1]["kimg"] and not stopped_since:
        checkpoint = folder / given[-1]["checkpoint"]
    return config, rows, checkpoint


def _goes_on(
    suggestion: Mapping[str, Any],
    folder: Path,
    metric: str,
    objective: Objective,
    worker_needs: WorkerNeeds,
    mirror: TrialSync,
) -> bool:
    """Run a trial from where its folder says, to its end or, True, to an order of the search's."""
    if (found := resume_state(suggestion, folder)) is None:
        return False
    config, rows, checkpoint = found
    reporter = TuneReporter(folder, metric, config.train.total_kimg, mirror)
    try:
        if config.resources.nested:
            from fastgan_ray.tune.trial.workers import (  # few trials need Ray Train
                Task,
                run_workers,
            )

            task = Task(suggestion, folder, metric, objective)
            workers = config.resources.workers
            run_workers(task, workers, worker_needs(config), len(rows), mirror.send)
        else:
            objective(config, reporter, checkpoint)
    except TakeOverError:
        return True
    except InterruptedRunError:
        # Like a death, but with nothing lost. Whoever runs the search starts it again.
        mirror.send()
        os._exit(128 + signal.SIGTERM)
    except Exception as error:
        if full_disk(error):  # it says nothing of the configuration: tried again
            raise
        reporter.end(*classify(error))
    return False


def classify(error: BaseException) -> tuple[Outcome, str]:
    """The outcome and the reason that an exception inside a trial stands for."""
    reason = str(error) or type(error).__name__
    if isinstance(error, DivergedError):
        return "diverged", reason
    if is_out_of_memory(error):
        return "out_of_memory", " ".join(reason.split())[:300]
    return "failed", reason if isinstance(error, UserError) else f"{type(error).__name__}: {reason}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine had no memory left."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(phrase in text for phrase in OUT_OF_MEMORY)
