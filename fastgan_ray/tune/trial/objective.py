"""What a trial runs: the training, or any other function with its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.distributed import ALONE, Group
from fastgan_ray.train.reporter import Reporter


class Objective(Protocol):
    """A function that trains, and reports its evaluations."""

    def __call__(
        self, config: RunConfig, reporter: Reporter, resume_from: Path | None, group: Group = ALONE
    ) -> None:
        """Train with `config`, from a checkpoint if there is one; `group` are all its workers."""


@dataclass(frozen=True)
class Task:
    """One trial: the searcher's suggestion {"number", "point", "run"}, and where and how it runs.

    `metric` is the name under which the objective must report the search's metric.
    """

    suggestion: Mapping[str, Any]
    folder: Path
    metric: str
    objective: Objective


def train_objective(
    config: RunConfig, reporter: Reporter, resume_from: Path | None, group: Group = ALONE
) -> None:
    """Train a generator on as many CPU threads as the trial, or each of its workers, has cores."""
    import torch

    from fastgan_ray.train.device import forget_training
    from fastgan_ray.train.loop import train

    forget_training()  # of the trial before, if this process has run one
    torch.set_num_threads(max(1, int(config.resources.cpus)))
    train(config, reporter, resume_from, group)
