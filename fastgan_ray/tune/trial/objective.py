"""Define the function that a trial runs: `train_objective`, or a user's function."""

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

        `reporter` receives the evaluations. `group` is the group of all workers of the trial.
        """


@dataclass(frozen=True)
class Task:
    """The data that a process needs to run a trial.

    `suggestion` is the searcher's suggestion {"number", "point", "run"}. `folder` is the trial's
    folder. `metric` is the name of the search's metric, which `objective` must report.
    """

    suggestion: Mapping[str, Any]
    folder: Path
    metric: str
    objective: Objective


def train_objective(
    config: RunConfig, reporter: Reporter, resume_from: Path | None, group: Group = ALONE
) -> None:
    """Release the memory of the previous training in this process, then train a generator.

    The arguments are those of `Objective`.
    """
    from fastgan_ray.train.device import forget_training
    from fastgan_ray.train.loop import train

    forget_training()
    train(config, reporter, resume_from, group)
