"""Which trials are stopped early."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from fastgan_ray.metrics.names import fakes_error_name, value_of
from fastgan_ray.report.rows import read_rows
from fastgan_ray.search.spec import EarlyTerminate, SearchSpec

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
    return Asha(spec.metric.name, mode, rule, max_kimg, trials)


class Asha(AsyncHyperBandScheduler):
    """Ray's ASHA, which lacks three things: a memory across a restart, tolerance of repeats, doubt.

    Ray's snapshot leaves the scheduler out, so rungs are refilled from the rows in the folders of
    restored trials. A row that a restarted trial reports again would enter a lower rung. And a
    trial is spared that lies within `rule.tolerance` standard errors of the cut; of its value,
    that is: the trials share the real pictures and the latents, so the error is the fakes' alone.
    """

    def __init__(
        self,
        metric: str,
        mode: str,
        rule: EarlyTerminate,
        max_kimg: float,
        trials: Path,
    ) -> None:
        # Ray's types say that time is whole; its arithmetic does not.
        times: dict[str, Any] = {"max_t": max_kimg, "grace_period": rule.min_iter}
        super().__init__(
            time_attr="kimg", metric=metric, mode=mode, reduction_factor=rule.eta, **times
        )
        self._folder = trials
        self._name = metric
        self._tolerance = rule.tolerance
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
        """STOP if the value is not (nearly) among the best 1/eta at its rung, else CONTINUE."""
        kimg = result.get("kimg", 0.0)
        value = value_of(result, self._name)
        if kimg <= self._seen.get(trial.trial_id, 0.0) or value is None:
            return str(TrialScheduler.CONTINUE)
        self._seen[trial.trial_id] = kimg
        cut = self._cut(trial, kimg)
        action = super().on_trial_result(tune_controller, trial, {**result, self._name: value})
        error = value_of(result, fakes_error_name(self._name), 0.0)
        if action != TrialScheduler.STOP or cut is None or error is None:
            return str(action)
        if abs(value - cut) > self._tolerance * error:
            return str(action)
        self._num_stopped -= 1
        return str(TrialScheduler.CONTINUE)

    def _cut(self, trial: Trial, kimg: float) -> float | None:
        """The value that the trial must reach at the rung it is at; None without one."""
        bracket = self._trial_info[trial.trial_id]
        for milestone, recorded in bracket._rungs:  # from the last rung down
            if kimg >= milestone and trial.trial_id not in recorded:
                cutoff = bracket.cutoff(recorded)
                return None if cutoff is None else float(self._metric_op * cutoff)
        return None

    def on_trial_complete(
        self, tune_controller: TuneController, trial: Trial, result: Mapping[str, Any]
    ) -> None:
        """Nothing more to record: the last row came as a result already."""
        self._trial_info.pop(trial.trial_id, None)

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        """Forget a trial that never ran."""
        self._trial_info.pop(trial.trial_id, None)
