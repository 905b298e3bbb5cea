"""A search's budget while it runs: what is used, when no trial begins any more, what is kept back.

Of kimg nothing is overspent: a trial begins if its whole length fits, and ends as it would. When
the hours or GPU-hours are used up, running trials are stopped at their next evaluation.
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
from fastgan_ray.tune.trial.folder import write_stop
from fastgan_ray.tune.trial.trainable import trial_id as name_of

FILE = "budget.json"
SECONDS_BETWEEN = 1.0  # of writing
# What is kept of the hours for the confirmation: its images at the pace of the search, and a margin
# as running trials go on to their next evaluation; but never more than a share of them.
MARGIN = 1.2
MOST_KEPT = 0.5
ROUNDING = 1e-9


class BudgetTracker(TrialCallback):
    """Counts what a search uses, over all sessions, in `folder`/budget.json.

    {"seconds", "gpu_seconds", "kimg" by trial, "over"}: `over` is why running trials must stop, or
    nothing. `kept_kimg` are the confirmation's.
    """

    def __init__(
        self,
        budget: Budget,
        kept_kimg: float,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = budget
        self.path = folder / FILE
        self._kept_kimg = kept_kimg
        self._clock = clock
        self._seen: float | None = None
        self._written = -math.inf
        empty = {"seconds": 0.0, "gpu_seconds": 0.0, "kimg": {}, "over": ""}
        self.state: dict[str, Any] = (
            json.loads(self.path.read_text()) if self.path.is_file() else empty
        )

    @property
    def kimg(self) -> float:
        """Thousands of images that trials have reported."""
        return float(sum(self.state["kimg"].values()))

    def check_gpus(self, demands: Iterable[Mapping[str, float]]) -> None:
        """UserError if GPU-hours are limited and trials take no GPU."""
        if self.budget.gpu_hours is not None and not any(one.get("GPU") for one in demands):
            raise UserError(
                "budget.gpu_hours: no trial takes a GPU here, so that it would limit nothing (got "
                f"{self.budget.gpu_hours:g}); use budget.hours"
            )

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Count the time since the last step."""
        running = [trial for trial in trials if trial.status == "RUNNING"]
        self.tick(sum(_gpus(trial) for trial in running))

    def tick(self, gpus: float) -> None:
        """Count the time since the last tick, in which trials had so many GPUs."""
        now = self._clock()
        passed = 0.0 if self._seen is None else now - self._seen
        self._seen = now
        self.state["seconds"] += passed
        self.state["gpu_seconds"] += passed * gpus
        before, self.state["over"] = self.state["over"], self._over()
        if self.state["over"] != before or now - self._written >= SECONDS_BETWEEN:
            self._write(now)

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Count images; rows of a trial that started again come twice."""
        known = self.state["kimg"]
        known[trial.trial_id] = max(known.get(trial.trial_id, 0.0), result.get("kimg", 0.0))

    def on_experiment_end(self, trials: list[Trial], **info: object) -> None:
        """Write what the next session begins with."""
        self._write(self._clock())

    def used(self) -> dict[str, dict[str, float]]:
        """{"used", "limit", "kept"} of whatever is limited, by its key in the file."""
        return {
            key: {"used": used, "limit": limit, "kept": self._kept(key, used, limit)}
            for key, used, limit in self._limited()
        }

    def describe(self) -> str:
        """What is used of it, in a line."""
        parts = [
            f"{one['used']:.3g} of {one['limit']:g} {key.replace('_', '-')}"
            + (f" ({one['kept']:.3g} kept to confirm)" if one["kept"] else "")
            for key, one in self.used().items()
        ]
        return f"budget: {', '.join(parts)}"

    def seconds_left(self) -> float | None:
        """Until the search's part is used up, at the pace so far; None while that is unknown."""
        seconds = self.state["seconds"]
        left = [
            (limit - self._kept(key, used, limit) - used) / used * seconds
            for key, used, limit in self._limited()
            if used > 0
        ]
        return max(0.0, min(left)) if left else None

    def kimg_left(self) -> float:
        """The images that the rest of the budget is enough for, at the pace so far."""
        left = [limit - self.kimg for limit in [self.budget.kimg] if limit is not None]
        for key, used, limit in self._limited():
            if key != "kimg":
                left.append(max(0.0, limit - used) * self.kimg / used if used else math.inf)
        return min(left, default=math.inf)

    def fits(self, lengths: Mapping[str, float], longest: float) -> bool:
        """Whether a trial of `longest` kimg fits beside those that run, by name their lengths."""
        if self.budget.kimg is None:
            return True
        ended: float = sum(kimg for name, kimg in self.state["kimg"].items() if name not in lengths)
        needed = ended + sum(lengths.values()) + longest + self._kept_kimg
        limit: float = self.budget.kimg * (1 + ROUNDING)
        return needed <= limit

    def _limited(self) -> list[tuple[str, float, float]]:
        budget, hour = self.budget, 3600
        found = [
            ("kimg", self.kimg, budget.kimg),
            ("hours", self.state["seconds"] / hour, budget.hours),
            ("gpu_hours", self.state["gpu_seconds"] / hour, budget.gpu_hours),
        ]
        return [(key, used, limit) for key, used, limit in found if limit is not None]

    def _kept(self, key: str, used: float, limit: float) -> float:
        if key == "kimg":
            return self._kept_kimg
        if not self.kimg:
            return 0.0
        return min(MARGIN * self._kept_kimg * used / self.kimg, MOST_KEPT * limit)

    def _over(self) -> str:
        for key, used, limit in self._limited():
            if key != "kimg" and used + self._kept(key, used, limit) >= limit:
                return f"the budget is used up: {self.describe().removeprefix('budget: ')}"
        return ""

    def _write(self, now: float) -> None:
        self._written = now
        write_atomically(self.path, json.dumps(self.state))


class BudgetStopper(Stopper):
    """Stops a trial at its evaluation once the budget's file says that the time is used up.

    It reads the file because Ray pickles a stopper into its record and goes on with that copy. The
    reason is left in the trial's folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to stop this trial."""
        over = json.loads(self._path.read_text())["over"] if self._path.is_file() else ""
        if not over or result.get("outcome", "running") != "running":
            return False
        write_stop(self._path.parent / "trials" / trial_id, result["kimg"], over)
        return True

    def stop_all(self) -> bool:
        """Never: what runs comes to its next evaluation."""
        return False


class BudgetedSearcher(Searcher):
    """A searcher that suggests nothing that the budget has no room for."""

    def __init__(self, searcher: Searcher, meter: BudgetTracker, longest_kimg: float) -> None:
        super().__init__(metric=searcher.metric, mode=searcher.mode)
        self.searcher = searcher  # by this name Ray knows a wrapper
        self._meter = meter
        self._longest = longest_kimg
        self._lengths: dict[str, float] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next; FINISHED if there is no room, None = wait for what running trials leave."""
        if self._meter.state["over"]:
            return FINISHED
        if not self._meter.fits(self._lengths, self._longest):
            return None if self._lengths else FINISHED
        found = self.searcher.suggest(trial_id)
        if found is not None and found != FINISHED:
            self._lengths[name_of(found["number"])] = found["run"]["train"]["total_kimg"]
        return found

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Hand an intermediate value on."""
        self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Hand an end on; what the trial did not need is free again."""
        self._lengths.pop(trial_id, None)
        self.searcher.on_trial_complete(trial_id, result=result, error=error)

    def save(self, checkpoint_path: str) -> None:
        """Write the wrapped searcher's state."""
        self.searcher.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Return the wrapped searcher to what `save` wrote."""
        self.searcher.restore(checkpoint_path)

    def get_state(self) -> dict[str, Any]:
        """What Ray keeps of a wrapper."""
        return {"lengths": self._lengths}

    def set_state(self, state: dict[str, Any]) -> None:
        """Return to what `get_state` gave."""
        self._lengths = state["lengths"]


def _gpus(trial: Trial) -> float:
    resources = RunConfig.model_validate(trial.config["run"]).resources
    if resources.nested:  # Ray Tune knows nothing of what its workers have
        return resources.workers * (1.0 if resources.gpus is None else resources.gpus)
    return trial_gpus(trial)
