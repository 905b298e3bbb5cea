"""The budget of a search: how much is used, which trials may start, and what is reserved.

The search never exceeds the limit of kimg (thousands of images), because a trial starts only if its
full length fits. When the hours or GPU-hours are used up, running trials stop at their next
evaluation.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ray.tune import Stopper
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.files import write_atomically
from fastgan_ray.search.file.budget import Budget
from fastgan_ray.tune.ray.callback import TrialCallback
from fastgan_ray.tune.ray.compat import FINISHED, trial_gpus
from fastgan_ray.tune.trial.folder import trial_name, write_stop

FILE = "budget.json"
SECONDS_BETWEEN_WRITES = 1.0
# The time reserved for the confirmation is RESERVE_MARGIN times the time that its kimg take at the
# search's speed. The margin is needed because running trials continue to their next evaluation. The
# reserved time is at most MAX_RESERVED_SHARE of the limit.
RESERVE_MARGIN = 1.2
MAX_RESERVED_SHARE = 0.5
ROUNDING = 1e-9


class BudgetTracker(TrialCallback):
    """Counts the time and kimg that a search uses; `folder`/budget.json stores them for restarts.

    The file has {"seconds", "gpu_seconds", "kimg", "over"}. "kimg" is a dict from a trial's name to
    its kimg. "over" is the reason why running trials must stop; it is "" as long as they may
    continue. `reserved_kimg` is the part of the budget in kimg that the confirmation needs.
    """

    def __init__(
        self,
        budget: Budget,
        reserved_kimg: float,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = budget
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
        """The thousands of images that all trials have trained on, according to their reports."""
        return float(sum(self.state["kimg"].values()))

    def check_gpus(self, demands: Iterable[Mapping[str, float]]) -> None:
        """Raise UserError if the budget limits GPU-hours but no trial uses a GPU."""
        if self.budget.gpu_hours is not None and not any(demand.get("GPU") for demand in demands):
            raise UserError(
                "budget.gpu_hours: has no effect, because no trial uses a GPU here (got "
                f"{self.budget.gpu_hours:g}); use budget.hours"
            )

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Add the time since Ray Tune's last step to the used hours and GPU-hours."""
        self.tick(sum(_gpus(trial) for trial in trials if trial.status == "RUNNING"))

    def tick(self, gpus: float) -> None:
        """Add the time since the last call to the used time; trials used `gpus` GPUs since then."""
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
        """Count a trial's images only once, even if a restarted trial repeats an earlier report."""
        kimg = self.state["kimg"]
        kimg[trial.trial_id] = max(kimg.get(trial.trial_id, 0.0), result.get("kimg", 0.0))

    def on_experiment_end(self, trials: list[Trial], **info: object) -> None:
        """Write the state from which a resumed search continues."""
        self._write(self._clock())

    def used(self) -> dict[str, dict[str, float]]:
        """Return {quantity: {"used", "limit", "reserved"}} for each quantity with a limit."""
        return {
            key: {"used": used, "limit": limit, "reserved": self._reserved(key, used, limit)}
            for key, used, limit in self._limited()
        }

    def describe(self) -> str:
        """Return one line that says how much of each limited quantity is used."""
        parts = []
        for key, amounts in self.used().items():
            text = f"{amounts['used']:.3g} of {amounts['limit']:g} {key.replace('_', '-')}"
            if amounts["reserved"]:
                text += f" ({amounts['reserved']:.3g} reserved for the confirmation)"
            parts.append(text)
        return f"budget: {', '.join(parts)}"

    def seconds_left(self) -> float | None:
        """Return the seconds until the search has used its part of the budget; None if unknown.

        The part reserved for the confirmation is not counted. The estimate assumes that the search
        continues at its speed so far.
        """
        seconds = self.state["seconds"]
        left = [
            (limit - self._reserved(key, used, limit) - used) / used * seconds
            for key, used, limit in self._limited()
            if used > 0
        ]
        return max(0.0, min(left)) if left else None

    def kimg_left(self) -> float:
        """Return how many kimg the rest of the budget allows, at the search's speed so far."""
        left = [math.inf]
        for key, used, limit in self._limited():
            if key == "kimg":
                left.append(limit - used)
            elif used:
                left.append(max(0.0, limit - used) * self.kimg / used)
        return min(left)

    def fits(self, lengths: Mapping[str, float], longest: float) -> bool:
        """Return whether the budget in kimg allows another trial of `longest` kimg.

        `lengths` has the full length in kimg of each running trial, by its name.
        """
        if self.budget.kimg is None:
            return True
        ended: float = sum(kimg for name, kimg in self.state["kimg"].items() if name not in lengths)
        needed = ended + sum(lengths.values()) + longest + self._reserved_kimg
        limit: float = self.budget.kimg * (1 + ROUNDING)
        return needed <= limit

    def _limited(self) -> list[tuple[str, float, float]]:
        """Return (quantity, amount used, limit) for each quantity that `budget` limits."""
        amounts = [
            ("kimg", self.kimg, self.budget.kimg),
            ("hours", self.state["seconds"] / 3600, self.budget.hours),
            ("gpu_hours", self.state["gpu_seconds"] / 3600, self.budget.gpu_hours),
        ]
        return [(key, used, limit) for key, used, limit in amounts if limit is not None]

    def _reserved(self, key: str, used: float, limit: float) -> float:
        if key == "kimg":
            return self._reserved_kimg
        if not self.kimg:
            return 0.0
        needed = RESERVE_MARGIN * self._reserved_kimg * used / self.kimg
        return min(needed, MAX_RESERVED_SHARE * limit)

    def _over(self) -> str:
        for key, used, limit in self._limited():
            if key != "kimg" and used + self._reserved(key, used, limit) >= limit:
                return f"the budget is used up: {self.describe().removeprefix('budget: ')}"
        return ""

    def _write(self, now: float) -> None:
        self._last_write = now
        write_atomically(self.path, json.dumps(self.state))


class BudgetStopper(Stopper):
    """Stops each trial at its next evaluation when budget.json says that the time is used up.

    The stopper reads the file at each call, and stores nothing itself, because after a restart Ray
    uses an old copy of the stopper from its snapshot. The stopper writes the reason to the trial's
    folder. Ray's TimeoutStopper is not used because it stops trials between evaluations and does
    not support GPU-hours.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether to stop this trial."""
        over = json.loads(self._path.read_text())["over"] if self._path.is_file() else ""
        if not over or result.get("outcome", "running") != "running":
            return False
        write_stop(self._path.parent / "trials" / trial_id, result["kimg"], over)
        return True

    def stop_all(self) -> bool:
        """Return False, because running trials continue to their next evaluation."""
        return False


class BudgetedSearcher(Searcher):
    """Wraps a searcher, and suggests only trials that fit into the budget."""

    def __init__(self, searcher: Searcher, tracker: BudgetTracker, longest_kimg: float) -> None:
        super().__init__(metric=searcher.metric, mode=searcher.mode)
        self.searcher = searcher  # Ray recognises a wrapper by this attribute
        self._tracker = tracker
        self._longest_kimg = longest_kimg
        self._lengths: dict[str, float] = {}  # {name of a running trial: its length in kimg}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the next trial, None if Ray must wait for running trials, or FINISHED.

        FINISHED means that no further trial fits into the budget, or that the wrapped searcher has
        no further trial.
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
        """Pass the end of a trial to the wrapped searcher, and release the trial's unused kimg."""
        self._lengths.pop(trial_id, None)
        self.searcher.on_trial_complete(trial_id, result=result, error=error)

    def save(self, checkpoint_path: str) -> None:
        """Write the wrapped searcher's state."""
        self.searcher.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Restore the wrapped searcher's state, which `save` wrote."""
        self.searcher.restore(checkpoint_path)

    def get_state(self) -> dict[str, Any]:
        """Return the wrapper's own state, which Ray saves."""
        return {"lengths": self._lengths}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore the state that `get_state` returned."""
        self._lengths = state["lengths"]


def _gpus(trial: Trial) -> float:
    resources = RunConfig.model_validate(trial.config["run"]).resources
    if resources.nested:  # Ray Tune does not know the resources of a trial's workers
        return resources.workers * (1.0 if resources.gpus is None else resources.gpus)
    return trial_gpus(trial)
