"""Train one generator with several processes on this machine, without Ray: `fastgan-ray train`.

The calling process, the parent, does not train. It starts one process for each worker, sends the
reports of the first worker to the caller's reporter, and watches all workers. If a worker dies, the
parent ends the other workers. Otherwise they would wait for messages of the dead worker (with NCCL,
forever).
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess, parent_process
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from rich.console import Console
from torch.distributed.rendezvous import rendezvous

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.counting import counted
from fastgan_ray.distributed import PeerFailedError, TorchGroup
from fastgan_ray.errors import UserError
from fastgan_ray.output import output_may_close
from fastgan_ray.progress import Track, silently, track_on
from fastgan_ray.train.device import device_of
from fastgan_ray.train.loop import train
from fastgan_ray.train.reporter import Metrics, Reporter
from fastgan_ray.train.signals import hangup_kept_from_children

LONGEST_START = timedelta(minutes=5)
# While the first worker evaluates, the other workers wait for its message.
LONGEST_EVALUATION = timedelta(days=1)
SECONDS_BETWEEN_LOOKS = 0.1
# After the first failure, the other workers have this time to report their errors and end.
SECONDS_TO_END = 10.0
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


@dataclass(frozen=True)
class Job:
    """What the parent sends to each worker: the training, and how to connect to other workers."""

    config: RunConfig
    folder: Path
    resume_from: Path | None
    backend: str
    meeting: Path
    show_progress: bool


@dataclass
class Worker:
    """The parent's record of a worker; `error` is the exception that the worker reported."""

    process: BaseProcess
    messages: Connection
    error: Exception | None = None
    finished: bool = False


def train_together(
    config: RunConfig,
    reporter: Reporter,
    resume_from: Path | None = None,
    track: Track = silently,
) -> None:
    """Run `train` in `resources.workers` processes; with GPUs, each process uses its own GPU.

    Raises the same errors as `train`, and UserError if a worker dies. `track` only decides whether
    progress is shown; the first worker prints it to standard error.
    """
    count, backend = config.resources.workers, _backend(config)
    context = mp.get_context("spawn")
    stop = context.Event()
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            config=config,
            folder=reporter.folder,
            resume_from=resume_from,
            backend=backend,
            meeting=Path(folder) / "meeting",
            show_progress=track is not silently,
        )
        workers: list[Worker] = []
        for rank in range(count):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(rank, job, sender, stop), daemon=True)
            workers.append(Worker(process, receiver))
            with hangup_kept_from_children():
                process.start()
            sender.close()  # now the parent reads an end of file if the worker dies
        try:
            _supervise(workers, reporter, stop)
        finally:
            for worker in workers:
                worker.process.kill()
                worker.process.join()
                worker.process.close()
                worker.messages.close()
    _raise_failure(workers)


def _supervise(workers: list[Worker], reporter: Reporter, stop: Event) -> None:
    """Forward the workers' messages to `reporter` until all workers have ended.

    If the reporter asks to stop, set the event `stop`, which the workers check. After the first
    failure, wait at most SECONDS_TO_END for the other workers.
    """
    deadline = float("inf")
    running = list(workers)
    while running and time.monotonic() < deadline:
        readable = wait([worker.messages for worker in running], SECONDS_BETWEEN_LOOKS)
        for worker in [worker for worker in running if worker.messages in readable]:
            try:
                kind, *content = worker.messages.recv()
            except EOFError:
                running.remove(worker)
                if not worker.finished:
                    deadline = min(deadline, time.monotonic() + SECONDS_TO_END)
                continue
            _handle_message(kind, content, worker, reporter)
        if reporter.stopping():
            stop.set()


def _handle_message(kind: str, content: list[Any], worker: Worker, reporter: Reporter) -> None:
    """Handle one message of the given `kind` from a worker."""
    if kind == "report":
        reporter.report(*content)
    elif kind == "log":
        reporter.log(*content)
    elif kind == "progress":
        reporter.progress(*content)
    elif kind == "error":
        (worker.error,) = content
    else:
        worker.finished = True


def _raise_failure(workers: list[Worker]) -> None:
    """Raise the error of a failed training; if all workers have finished, do nothing.

    PeerFailedError only says that another worker failed. So the first error of another type that a
    worker reported is raised. If there is none, raise a UserError with the ranks of the workers
    that have not finished.
    """
    if all(worker.finished for worker in workers):
        return
    errors = [worker.error for worker in workers if worker.error is not None]
    for error in errors:
        if not isinstance(error, PeerFailedError):
            raise error
    ranks = [rank for rank, worker in enumerate(workers) if not worker.finished]
    reason = f" ({errors[0]})" if errors else ""
    raise UserError(
        f"resources.workers: of {counted(len(workers), 'process')}, the process with rank "
        f"{' or '.join(map(str, ranks))} ended too early or did not answer{reason}. Perhaps "
        "it was killed or ran out of memory. Continue the training with --resume."
    ) from (errors[0] if errors else None)


def _backend(config: RunConfig) -> str:
    """Return the backend of torch.distributed, "nccl" or "gloo".

    Raises UserError if this machine does not have a GPU for each worker.
    """
    device = device_of(config)
    if device.type == "mps":
        raise UserError(
            f"resources.workers is {config.resources.workers}, but this machine has one GPU, which "
            "several processes cannot share; set train.device to cpu, or resources.workers to 1"
        )
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if count < config.resources.workers:
            raise UserError(
                f"resources.workers is {config.resources.workers}, and each worker needs a GPU, "
                f"but this machine has {counted(count, 'GPU')}. Lower resources.workers, or set "
                "train.device to cpu."
            )
        return "nccl"
    return "gloo"


class PipeReporter:
    """The reporter of the first worker: it sends reports to the parent, which may ask to stop."""

    def __init__(self, folder: Path, messages: Connection, stop: Event) -> None:
        self.folder = folder
        self._messages = messages
        self._stop = stop

    def report(self, metrics: Metrics, checkpoint: Path) -> None:
        """Send an evaluation to the parent."""
        self._messages.send(("report", metrics, checkpoint))

    def log(self, numbers: Metrics) -> None:
        """Send training numbers to the parent."""
        self._messages.send(("log", numbers))

    def progress(self, kimg: float, seconds: float) -> None:
        """Send the position of the training to the parent."""
        self._messages.send(("progress", kimg, seconds))

    def stopping(self) -> bool:
        """Return whether the parent asks to stop."""
        return self._stop.is_set()


class FollowerReporter:
    """The reporter of all workers but the first: it ignores reports and never asks to stop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def report(self, metrics: Metrics, checkpoint: Path) -> None:
        """Do nothing; never called, because only the first worker of a group evaluates."""

    def log(self, numbers: Metrics) -> None:
        """Do nothing; never called, because only the first worker of a group logs."""

    def progress(self, kimg: float, seconds: float) -> None:
        """Do nothing; the first worker reports the progress."""

    def stopping(self) -> bool:
        """Return False: only the first worker decides to stop."""
        return False


def _work(rank: int, job: Job, messages: Connection, stop: Event) -> None:
    """Train as the worker with this `rank`, in its own process; send messages to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    threading.Thread(target=_end_with_parent, daemon=True).start()
    first = rank == 0
    reporter = PipeReporter(job.folder, messages, stop) if first else FollowerReporter(job.folder)
    track = track_on(Console(stderr=True)) if first and job.show_progress else silently
    try:
        workers = job.config.resources.workers
        with output_may_close(), _joined(job.backend, job.meeting, workers, rank):
            train(job.config, reporter, job.resume_from, TorchGroup(), track)
        messages.send(("finished",))
    except Exception as error:
        messages.send(("error", _picklable(error)))


def _end_with_parent() -> None:
    """Wait until the parent dies, then end this process.

    Otherwise this process could wait forever for a message.
    """
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _picklable(error: Exception) -> Exception:
    """Return the error; if it cannot be pickled, return a RuntimeError with the same text."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


@contextlib.contextmanager
def _joined(backend: str, meeting: Path, workers: int, rank: int) -> Iterator[None]:
    """Connect to the other workers within this context.

    `meeting` is the path of a file by which the workers find each other. Raises PeerFailedError if
    a worker does not start within LONGEST_START.
    """
    if backend == "nccl":
        torch.cuda.set_device(rank)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK)  # all workers are on this machine
    store, _, _ = next(iter(rendezvous(f"file://{meeting}", rank, workers)))
    store.set(str(rank), "here")
    try:
        store.wait([str(peer) for peer in range(workers)], LONGEST_START)
    except RuntimeError as error:
        raise PeerFailedError(f"one of the workers did not start: {error}") from error
    dist.init_process_group(
        backend, store=store, timeout=LONGEST_EVALUATION, world_size=workers, rank=rank
    )
    try:
        yield
    finally:
        dist.destroy_process_group()
