"""Real training by several workers, in which something happens. Imported by these workers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.distributed import ALONE, Group
from fastgan_ray.train.reporter import Reporter
from fastgan_ray.tune.trial.objective import train_objective

METRIC = "fd_efficientnet_lite0"


class Eventful:
    """A worker's reporter. The second of two dies once, after 0.008 kimg.

    At 0.016 kimg the second trial's metric is hopeless.
    """

    def __init__(self, reporter: Reporter, group: Group) -> None:
        self.folder = reporter.folder
        self._reporter = reporter
        self._group = group

    def report(self, metrics: Mapping[str, Any], checkpoint: Path) -> None:
        if metrics["kimg"] < 0.016 or self.folder.name == "00000":
            self._reporter.report(metrics, checkpoint)
            return
        self._reporter.report({**metrics, METRIC: 1e9}, checkpoint)

    def progress(self, kimg: float, seconds: float) -> None:
        died = self.folder / "died"
        if self._group.rank == 1 and kimg > 0.008 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        self._reporter.progress(kimg, seconds)

    def stopping(self) -> bool:
        return self._reporter.stopping()


def eventful(
    config: RunConfig, reporter: Reporter, resume_from: Path | None, group: Group = ALONE
) -> None:
    """Train, with what `Eventful` has happen; each process notes itself, and where it begins."""
    with (reporter.folder / "pids.txt").open("a") as file:
        file.write(f"{os.getpid()}\n")
    start = resume_from.name if resume_from else "the start"
    with (reporter.folder / f"worker-{group.rank}.txt").open("a") as file:
        file.write(f"{start} of {group.size}\n")
    train_objective(config, Eventful(reporter, group), resume_from, group)


def blocked(
    config: RunConfig, reporter: Reporter, resume_from: Path | None, group: Group = ALONE
) -> None:
    """Train; but the first time the second worker dies, and the first waits for it for ever.

    So it does in an all-reduce of NCCL's, which nothing interrupts.
    """
    died = reporter.folder / "died"
    if died.exists():
        train_objective(config, reporter, resume_from, group)
        return
    if group.rank == 1:
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(1)


class Lethal:
    """An objective that once kills the second worker while the worker receives it.

    So the worker dies before it has told Ray Train that its training has started.
    """

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __call__(
        self,
        config: RunConfig,
        reporter: Reporter,
        resume_from: Path | None,
        group: Group = ALONE,
    ) -> None:
        train_objective(config, reporter, resume_from, group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if dist.is_initialized() and dist.get_rank() == 1 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
