"""Which trials are stopped early."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from fastgan_ray.search.spec import SearchSpec
from fastgan_ray.tune.history import read_rows

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController


def make_scheduler(spec: SearchSpec, max_kimg: float, trials: Path) -> TrialScheduler | None:
    """Successive halving in kimg as `early_terminate` says; None = every trial runs to its end.

    `max_kimg` is the length of the longest trial; `trials` holds the trials' folders.
    """
    rule = spec.early_terminate
    if rule is None or rule.min_iter >= max_kimg:
        return None
    mode = "min" if spec.metric.goal == "minimize" else "max"
    return Asha(spec.metric.name, mode, rule.min_iter, rule.eta, max_kimg, trials)


class Asha(AsyncHyperBandScheduler):
    """Ray's ASHA, which lacks two things: a memory across a restart, and tolerance of repeats.

    Ray's snapshot leaves the scheduler out, so rungs are refilled from the rows in the folders of
    restored trials. A row that a restarted trial reports again would enter a lower rung.
    """

    def __init__(
        self,
        metric: str,
        mode: str,
        min_kimg: float,
        eta: float,
        max_kimg: float,
        trials: Path,
    ) -> None:
        # Ray's types say that time is whole; its arithmetic does not.
        times: dict[str, Any] = {"max_t": max_kimg, "grace_period": min_kimg}
        super().__init__(time_attr="kimg", metric=metric, mode=mode, reduction_factor=eta, **times)
        self._folder = trials
        self._seen: dict[str, float] = {}

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Take a trial in; if it ran before, with what it had reported."""
        super().on_trial_add(tune_controller, trial)
        if trial.trial_id in self._seen or not trial.last_result:
            return
        until = trial.last_result.get("kimg", 0.0)
        for row in read_rows(self._folder / trial.trial_id):
            if row["kimg"] <= until:
                self.on_trial_result(tune_controller, trial, row)

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: Mapping[str, Any]
    ) -> str:
        """STOP if the value is not among the best 1/eta at its rung, else CONTINUE."""
        kimg = result.get("kimg", 0.0)
        if kimg <= self._seen.get(trial.trial_id, 0.0):
            return str(TrialScheduler.CONTINUE)
        self._seen[trial.trial_id] = kimg
        return str(super().on_trial_result(tune_controller, trial, dict(result)))

    def on_trial_complete(
        self, tune_controller: TuneController, trial: Trial, result: Mapping[str, Any]
    ) -> None:
        """Nothing more to record: the last row came as a result already."""
        self._trial_info.pop(trial.trial_id, None)

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        """Forget a trial that never ran."""
        self._trial_info.pop(trial.trial_id, None)
