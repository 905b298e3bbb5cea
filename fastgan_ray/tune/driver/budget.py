"""Track the budget of a search, and start no more trials when the budget is used up.

The search never exceeds the limit of kimg (thousands of images), because a trial starts only if its
full length fits into the budget. When the hours or GPU-hours are used up, running trials stop at
their next evaluation.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ray.tune import Stopper
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.files import write_atomically
from fastgan_ray.search.file.budget import COUNTED, Budget
from fastgan_ray.tune.ray.callback import TrialCallback
from fastgan_ray.tune.ray.compat import FINISHED, trial_gpus
from fastgan_ray.tune.trial.folder import REPEATED, trial_name, write_stop

FILE = "budget.json"
SECONDS_BETWEEN_WRITES = 1.0
# The time reserved for the confirmation is RESERVE_MARGIN times the time that its kimg take at the
# search's speed. The margin is needed because running trials continue to their next evaluation. The
# reserved time is at most MAX_RESERVED_SHARE of the limit.
RESERVE_MARGIN = 1.2
MAX_RESERVED_SHARE = 0.5
ROUNDING = 1e-9


class Used(NamedTuple):
    """Used kimg (thousands of training images), seconds and GPU seconds."""

    kimg: float = 0.0
    seconds: float = 0.0
    gpu_seconds: float = 0.0


NOTHING = Used()


class BudgetTracker(TrialCallback):
    """Counts the time and kimg that a search uses, and stores them in `folder`/budget.json.

    After a restart, the search continues with the stored numbers. The file has the keys "seconds",
    "gpu_seconds", "kimg" and "over". "kimg" is a dict from a trial's name to its kimg. "over" is
    the reason why running trials must stop; it is "" if they may continue. `reserved_kimg` is the
    number of kimg that the confirmation needs. If the search continues after a confirmation,
    `confirmed` is what this confirmation has used. `clock` returns the time in seconds.
    """

    def __init__(
        self,
        budget: Budget,
        reserved_kimg: float,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
        confirmed: Used = NOTHING,
    ) -> None:
        self.budget = budget
        self._confirmed = confirmed
        self.path = folder / FILE
        self._reserved_kimg = reserved_kimg
        self._clock = clock
        self._last_tick: float | None = None
        self._last_write = -math.inf
        self.state: dict[str, Any] = {"seconds": 0.0, "gpu_seconds": 0.0, "kimg": {}, "over": ""}
        if self.path.is_file():
            # A resumed search may have a larger budget than before.
            self.state = json.loads(self.path.read_text())
            self.state["over"] = self._over()
            self._write(-math.inf)

    @property
    def kimg(self) -> float:
        """The sum of the kimg (thousands of training images) that all trials have reported."""
        return float(sum(self.state["kimg"].values()))

    def check_gpus(self, demands: Iterable[Mapping[str, float]]) -> None:
        """Raise UserError if the budget limits GPU-hours but no trial uses a GPU.

        `demands` are the resources of trials.
        """
        if self.budget.gpu_hours is not None and not any(demand.get("GPU") for demand in demands):
            raise UserError(
                "budget.gpu_hours: has no effect, because no trial uses a GPU here (got "
                f"{self.budget.gpu_hours:g}); use budget.hours"
            )

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Add the time since Ray Tune's last step to the used time and GPU time."""
        self.tick(sum(_gpus(trial) for trial in trials if trial.status == "RUNNING"))

    def tick(self, gpus: float) -> None:
        """Add the time since the last call to the used time and GPU time.

        `gpus` is the number of GPUs that trials have used since the last call.
        """
        now = self._clock()
        seconds = 0.0 if self._last_tick is None else now - self._last_tick
        self._last_tick = now
        self.state["seconds"] += seconds
        self.state["gpu_seconds"] += seconds * gpus
        over = self._over()
        is_new = over != self.state["over"]
        self.state["over"] = over
        if is_new or now - self._last_write >= SECONDS_BETWEEN_WRITES:
            self._write(now)

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Store the kimg of a trial's report.

        If a restarted trial repeats an earlier report, its kimg are not counted again. Nor are the
        images after the end of a training that fill its last batch.
        """
        kimg, total = self.state["kimg"], trial.config["run"]["train"]["total_kimg"]
        reported = min(result.get("kimg", 0.0), total)
        kimg[trial.trial_id] = max(kimg.get(trial.trial_id, 0.0), reported)

    def on_experiment_end(self, trials: list[Trial], **info: object) -> None:
        """Write budget.json, so that a resumed search continues with the current numbers."""
        self._write(self._clock())

    def used(self) -> dict[str, dict[str, float]]:
        """Return how much of each limited quantity is used, allowed and reserved.

        The result is a dict from the quantity to {"used", "limit", "reserved"}. The quantities are
        "kimg", "hours" and "gpu_hours". "reserved" is the amount that only the confirmation may
        use.
        """
        return {
            key: {"used": used, "limit": limit, "reserved": self._reserved(key, limit)}
            for key, used, limit in self._limited()
        }

    def describe(self) -> str:
        """Return one line that says how much of the budget is used; "" if nothing is limited."""
        parts = []
        for key, amounts in self.used().items():
            text = f"{amounts['used']:.3g} of {amounts['limit']:g} {key.replace('_', '-')}"
            if amounts["reserved"]:
                text += f" ({amounts['reserved']:.3g} reserved for the confirmation)"
            parts.append(text)
        return f"budget: {', '.join(parts)}" if parts else ""

    def seconds_left(self) -> float | None:
        """Return how many seconds the search can still run; None if this is unknown.

        The search cannot use the part of the budget that is reserved for the confirmation. The
        estimate assumes that the search continues at its speed so far.
        """
        seconds = self.state["seconds"]
        left = [
            (limit - self._reserved(key, limit) - used) / self._own(key) * seconds
            for key, used, limit in self._limited()
            if self._own(key) > 0
        ]
        return max(0.0, min(left)) if left else None

    def kimg_left(self) -> float:
        """Return how many more kimg the budget allows, at the search's speed so far.

        These kimg include the part that is reserved for the confirmation. If nothing is limited,
        the result is infinite.
        """
        left = [math.inf]
        for key, used, limit in self._limited():
            if key == "kimg":
                left.append(limit - used)
            elif own := self._own(key):
                left.append(max(0.0, limit - used) * self.kimg / own)
        return min(left)

    def fits(self, lengths: Mapping[str, float], longest: float) -> bool:
        """Return whether the limit of kimg allows another trial of `longest` kimg.

        `lengths` is a dict from the name of each running trial to its full length in kimg.
        """
        if self.budget.kimg is None:
            return True
        ended: float = sum(kimg for name, kimg in self.state["kimg"].items() if name not in lengths)
        confirmed = self._confirmed.kimg + self._reserved_kimg
        needed = ended + sum(lengths.values()) + longest + confirmed
        limit: float = self.budget.kimg * (1 + ROUNDING)
        return needed <= limit

    def _limited(self) -> list[tuple[str, float, float]]:
        """Return (name, used amount with a confirmation's, limit) of each limited quantity."""
        return [
            (key, self._own(key) + _amount(self._confirmed, key), limit)
            for key in COUNTED
            if (limit := getattr(self.budget, key)) is not None
        ]

    def _own(self, key: str) -> float:
        """Return how much of a quantity the search itself has used, without a confirmation."""
        return _amount(Used(self.kimg, self.state["seconds"], self.state["gpu_seconds"]), key)

    def _reserved(self, key: str, limit: float) -> float:
        if key == "kimg":
            return self._reserved_kimg
        if not self.kimg:
            return 0.0
        needed = RESERVE_MARGIN * self._reserved_kimg * self._own(key) / self.kimg
        return min(needed, MAX_RESERVED_SHARE * limit)

    def _over(self) -> str:
        for key, used, limit in self._limited():
            if key != "kimg" and used + self._reserved(key, limit) >= limit:
                return f"the budget is used up: {self.describe().removeprefix('budget: ')}"
        return ""

    def _write(self, now: float) -> None:
        self._last_write = now
        write_atomically(self.path, json.dumps(self.state))


class BudgetStopper(Stopper):
    """Stops each trial at its next evaluation when budget.json says that the time is used up.

    `path` is the path of budget.json. The stopper reads this file at each call and stores nothing
    itself, because after a restart Ray uses an old copy of the stopper. Ray's TimeoutStopper is not
    used because it stops trials between evaluations and does not support GPU-hours.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether the trial must stop; if so, write the reason to the trial's folder."""
        over = json.loads(self._path.read_text())["over"] if self._path.is_file() else ""
        if not over or result.get("outcome", "running") != "running" or result.get(REPEATED):
            return False  # after a restart, a trial first repeats its earlier evaluations
        write_stop(self._path.parent / "trials" / trial_id, result["kimg"], over)
        return True

    def stop_all(self) -> bool:
        """Return False, because running trials continue to their next evaluation."""
        return False


class BudgetedSearcher(Searcher):
    """Wraps a searcher, and suggests only trials that fit into the budget.

    `longest_kimg` is the length of the longest trial, in kimg.
    """

    def __init__(self, searcher: Searcher, tracker: BudgetTracker, longest_kimg: float) -> None:
        super().__init__(metric=searcher.metric, mode=searcher.mode)
        self.searcher = searcher  # Ray recognises a wrapper by this attribute
        self._tracker = tracker
        self._longest_kimg = longest_kimg
        self._lengths: dict[str, float] = {}  # {name of a running trial: its length in kimg}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the suggestion of the wrapped searcher if another trial fits into the budget.

        Returns None if Ray must wait until a running trial has ended. Returns FINISHED if no
        further trial fits into the budget, or if the wrapped searcher has no further trial.
        """
        if self._tracker.state["over"]:
            return FINISHED
        if not self._tracker.fits(self._lengths, self._longest_kimg):
            return None if self._lengths else FINISHED
        suggestion = self.searcher.suggest(trial_id)
        if suggestion is not None and suggestion != FINISHED:
            name = trial_name(suggestion["number"])
            self._lengths[name] = suggestion["run"]["train"]["total_kimg"]
        return suggestion

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass a trial's result to the wrapped searcher."""
        self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the wrapped searcher that a trial has ended.

        If the trial ended before its full length, other trials can use the remaining kimg.
        """
        self._lengths.pop(trial_id, None)
        self.searcher.on_trial_complete(trial_id, result=result, error=error)

    def save(self, checkpoint_path: str) -> None:
        """Write the wrapped searcher's state to the file `checkpoint_path`."""
        self.searcher.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Restore the wrapped searcher's state from the file that `save` wrote."""
        self.searcher.restore(checkpoint_path)

    def get_state(self) -> dict[str, Any]:
        """Return the lengths of the running trials; Ray saves them."""
        return {"lengths": self._lengths}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore the lengths that `get_state` returned."""
        self._lengths = state["lengths"]


def _amount(used: Used, key: str) -> float:
    if key == "kimg":
        return used.kimg
    return (used.seconds if key == "hours" else used.gpu_seconds) / 3600


def _gpus(trial: Trial) -> float:
    resources = RunConfig.model_validate(trial.config["run"]).resources
    if resources.nested:  # Ray Tune does not know the resources of a trial's workers
        return resources.workers * (1.0 if resources.gpus is None else resources.gpus)
    return trial_gpus(trial)
