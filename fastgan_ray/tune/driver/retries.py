"""How often a trial's process may die, and why it did."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ray.air.execution._internal import RayActorManager
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune import Callback
from ray.tune.experiment import Trial

from fastgan_ray.tune.driver.state import reason_of
from fastgan_ray.tune.trial.folder import reached

# How often a trial whose process died starts again without having come any further.
MAX_DEATHS = 4


@contextlib.contextmanager
def actor_deaths_only() -> Iterator[None]:
    """Inside, whatever ends a trial's process is a death, of which the search takes note.

    Ray Tune (2.60) knows actors that died and tasks that raised; that its own memory monitor ended
    a process is neither, and ends the whole search.
    """
    plain = RayActorManager._actor_task_failed

    def failed(
        manager: RayActorManager, tracked_actor_task: TrackedActorTask, exception: Exception
    ) -> None:
        if isinstance(exception, RayError) and not isinstance(
            exception, RayActorError | RayTaskError
        ):
            exception = RayActorError(error_msg=str(exception))
        plain(manager, tracked_actor_task, exception)

    with patch.object(RayActorManager, "_actor_task_failed", failed):
        yield


class RetryCounter(Callback):
    """Has Ray forget the deaths that came before progress, or before a resume: a cluster of spot
    machines kills a long trial many times, and only one that cannot get on is given up."""

    def __init__(self, trials: Path) -> None:
        self._trials = trials
        self._reached: dict[str, float] = {}
        self._started: dict[str, Trial] = {}

    def reason(self, trial_id: str) -> str:
        """Why a trial's process died last, if it has been started in this session and died."""
        trial = self._started.get(trial_id)
        return "" if trial is None else reason_of(trial, {})

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Take in a trial's start, its first in this session or one after a death."""
        self._started[trial.trial_id] = trial
        if trial.trial_id not in self._reached:
            self._reached[trial.trial_id] = 0.0
            _set_deaths(trial, 0)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: object,
    ) -> None:
        """Take in a row: if it is no repeated one, the trial has got on."""
        self._take_in(trial, result["kimg"], 0)

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Take in a death, maybe after a checkpoint between two rows."""
        self._take_in(trial, reached(self._trials / trial.trial_id), 1)

    def _take_in(self, trial: Trial, kimg: float, deaths: int) -> None:
        if kimg > self._reached.get(trial.trial_id, 0.0):
            self._reached[trial.trial_id] = kimg
            _set_deaths(trial, deaths)


def _set_deaths(trial: Trial, count: int) -> None:
    trial.run_metadata.num_failures = count
    forget: Callable[[], None] = trial.run_metadata.invalidate_cache
    forget()
