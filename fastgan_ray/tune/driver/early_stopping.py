"""Early stopping and exchanges as Ray calls them: rows become readings, reasons become stops."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from fastgan_ray.metrics.names import fakes_error_name, value_of
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.search.file.options import Metric
from fastgan_ray.search.file.spec import SearchSpec, run_config
from fastgan_ray.search.pbt import PopulationBasedTraining
from fastgan_ray.search.stopping import Observation, StoppingRules
from fastgan_ray.tune.driver.pbt import WeightExchange
from fastgan_ray.tune.preflight import rooted
from fastgan_ray.tune.trial.folder import write_stop

if TYPE_CHECKING:
    from fastgan_ray.tune.ray.compat import TuneController


def make_scheduler(spec: SearchSpec, max_kimg: float, trials: Path) -> TrialScheduler | None:
    """What stops trials as `early_terminate` says, and lets them take over as `population` does.

    None = every trial runs to its end by itself. `max_kimg` is the length of the longest trial;
    `trials` holds the trials' folders.
    """
    if not spec.early_terminate and spec.population is None:
        return None
    exchanger = None
    if spec.population is not None:
        exchange = PopulationBasedTraining(
            spec.population, spec.space, max_kimg, spec.run_cap, spec.seed
        )
        exchanger = WeightExchange(exchange, trials, lambda point: rooted(run_config(spec, point)))
    return EarlyStoppingScheduler(
        StoppingRules(spec.early_terminate, max_kimg), spec.metric, trials, exchanger
    )


def observation_of(row: Mapping[str, Any], trial: int, metric: Metric) -> Observation | None:
    """A row as judges take it, None if it has no value (a trial that ended badly, by itself).

    The error is that from the generated pictures alone, for trials share the real ones.
    """
    value = value_of(row, metric.name)
    if value is None:
        return None
    sign = -1 if metric.goal == "maximize" else 1
    error = value_of(row, fakes_error_name(metric.name), 0.0) or 0.0
    return Observation(trial, row["kimg"], sign * value, error)


class EarlyStoppingScheduler(FIFOScheduler):
    """Hands rows to judges, and stops trials; to an exchanger those that go on.

    Ray's snapshot leaves the scheduler out, so the judges are told again what restored trials had
    reported, from the rows in their folders.
    """

    def __init__(
        self,
        judges: StoppingRules,
        metric: Metric,
        trials: Path,
        exchanger: WeightExchange | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._judges = judges
        self._of = metric
        self._folder = trials
        self._exchanger = exchanger

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Take a trial in; if it ran before, with what it had reported."""
        if not trial.last_result:
            return
        until = trial.last_result.get("kimg", 0.0)
        for row in read_rows(self._folder / trial.trial_id):
            if row["kimg"] <= until:
                self._judge(trial, row)
                reading = observation_of(row, trial.config["number"], self._of)
                if self._exchanger is not None and reading is not None:
                    self._exchanger.remember(reading)

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: Mapping[str, Any]
    ) -> str:
        """STOP, and the reason in the trial's folder, if a judge says so; else CONTINUE."""
        reason = self._judge(trial, result)
        if result.get("outcome", "running") != "running":
            return str(TrialScheduler.CONTINUE)
        if not reason:
            self._exchange(trial, result)
            return str(TrialScheduler.CONTINUE)
        write_stop(self._folder / trial.trial_id, result["kimg"], reason)
        return str(TrialScheduler.STOP)

    def _exchange(self, trial: Trial, row: Mapping[str, Any]) -> None:
        reading = observation_of(row, trial.config["number"], self._of)
        if self._exchanger is not None and reading is not None:
            self._exchanger.observe(reading, row, trial.config["point"])

    def _judge(self, trial: Trial, row: Mapping[str, Any]) -> str:
        reading = observation_of(row, trial.config["number"], self._of)
        return "" if reading is None else self._judges.decide(reading)
