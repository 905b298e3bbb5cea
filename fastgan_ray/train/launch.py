"""Training with several processes of this machine, for the plain command line: without Ray."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed.rendezvous import rendezvous

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.distributed import PeerFailedError, TorchGroup
from fastgan_ray.errors import DivergedError, InterruptedRunError, UserError
from fastgan_ray.progress import Track, silently
from fastgan_ray.train.device import choose_device
from fastgan_ray.train.loop import train
from fastgan_ray.train.reporter import Metrics, Reporter

LONGEST_START = timedelta(minutes=5)
# The others wait in a message for as long as the first process evaluates.
LONGEST_EVALUATION = timedelta(days=1)
PATIENCE_S = 10.0  # with processes that have nothing to do but to end
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


def train_together(
    config: RunConfig,
    reporter: Reporter,
    resume_from: Path | None = None,
    track: Track = silently,
) -> None:
    """`train` by `resources.workers` processes: this one, which reports, and others it starts.

    On GPUs each has one of its own. Raises what `train` does; UserError if another process dies.
    """
    workers, backend = config.resources.workers, _backend(config)
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // workers))
    context = mp.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        given = (config, reporter.folder, resume_from, backend, meeting, torch.get_num_threads())
        others: list[BaseProcess] = [
            context.Process(target=_follow, args=(rank, *given), daemon=True)
            for rank in range(1, workers)
        ]
        try:
            with _running(others), _joined(backend, meeting, workers, 0):
                train(config, reporter, resume_from, TorchGroup(), track)
        except PeerFailedError as error:
            raise UserError(
                f"resources.workers: one of the {workers} processes has ended before its time "
                f"(killed, or out of memory?). Go on with --resume. ({error})"
            ) from error
        finally:
            torch.set_num_threads(threads)


def _backend(config: RunConfig) -> str:
    """What the processes talk by; UserError if there are not enough GPUs."""
    device = choose_device(config.train.device)
    if device.type == "mps":
        raise UserError(
            f"resources.workers: {config.resources.workers} processes cannot share this machine's "
            "one GPU; set train.device to cpu, or resources.workers to 1"
        )
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if count < config.resources.workers:
            raise UserError(
                f"resources.workers: {config.resources.workers} workers need a GPU each, and this "
                f"machine has {count}. Lower resources.workers, or set train.device to cpu."
            )
        return "nccl"
    return "gloo"


@contextlib.contextmanager
def _running(others: list[BaseProcess]) -> Iterator[None]:
    for process in others:
        process.start()
    try:
        yield
        for process in others:
            process.join(PATIENCE_S)
    finally:
        for process in others:
            if process.is_alive():
                process.kill()
            process.join()
            process.close()


@contextlib.contextmanager
def _joined(backend: str, meeting: Path, workers: int, rank: int) -> Iterator[None]:
    if backend == "nccl":
        torch.cuda.set_device(rank)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK)  # all of them are on this machine
    store, _, _ = next(iter(rendezvous(f"file://{meeting}", rank, workers)))
    store.set(str(rank), "here")
    try:
        store.wait([str(each) for each in range(workers)], LONGEST_START)
    except RuntimeError as error:
        raise PeerFailedError(f"a process of the group has not started: {error}") from error
    dist.init_process_group(
        backend, store=store, timeout=LONGEST_EVALUATION, world_size=workers, rank=rank
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


class _Silent:
    """The reporter of a process that does not report."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def report(self, metrics: Metrics, checkpoint: Path) -> None:
        """Never called: the first process of a group reports."""

    def progress(self, kimg: float, seconds: float) -> None:
        """Nothing."""

    def stopping(self) -> bool:
        """Never by itself: the group stops when the first process does."""
        return False


def _follow(
    rank: int,
    config: RunConfig,
    folder: Path,
    resume_from: Path | None,
    backend: str,
    meeting: Path,
    threads: int,
) -> None:
    """One of the other processes, which ends when the first one does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first one's to act on
    torch.set_num_threads(threads)
    # What goes wrong in all of them, the first one says.
    with (
        contextlib.suppress(UserError, DivergedError, InterruptedRunError, PeerFailedError),
        _joined(backend, meeting, config.resources.workers, rank),
    ):
        train(config, _Silent(folder), resume_from, TorchGroup())
