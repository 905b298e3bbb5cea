"""The function that a trial runs: `train_objective`, or another with the same arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.distributed import ALONE, Group
from fastgan_ray.train.reporter import Reporter


class Objective(Protocol):
    """A function that trains a generator and reports its evaluations."""

    def __call__(
        self, config: RunConfig, reporter: Reporter, resume_from: Path | None, group: Group = ALONE
    ) -> None:
        """Train with `config`; continue from the checkpoint `resume_from` if it is not None.

        `group` is the group of all workers of the trial.
        """


@dataclass(frozen=True)
class Task:
    """One trial: the searcher's suggestion {"number", "point", "run"}, its folder and objective.

    `metric` is the name of the search's metric; the objective must report it.
    """

    suggestion: Mapping[str, Any]
    folder: Path
    metric: str
    objective: Objective


def train_objective(
    config: RunConfig, reporter: Reporter, resume_from: Path | None, group: Group = ALONE
) -> None:
    """Release the memory of the previous training in this process, then train a generator."""
    from fastgan_ray.train.device import forget_training
    from fastgan_ray.train.loop import train

    forget_training()
    train(config, reporter, resume_from, group)
