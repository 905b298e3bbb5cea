"""Define the Ray Tune scheduler for early stopping and population-based training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from fastgan_ray.metrics.names import fakes_error_name, value_of
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.search.file.spec import SearchSpec, run_config
from fastgan_ray.search.luck import prior_of
from fastgan_ray.search.pbt import PopulationBasedTraining
from fastgan_ray.search.repeats import is_repeat
from fastgan_ray.search.stopping import Observation, StoppingRules
from fastgan_ray.tune.preflight import absolute_paths
from fastgan_ray.tune.trial.folder import REPEATED, write_stop
from fastgan_ray.tune.trial.pbt import WeightExchange

if TYPE_CHECKING:
    from fastgan_ray.tune.ray.compat import TuneController


def make_scheduler(spec: SearchSpec, max_kimg: float, trials: Path) -> TrialScheduler | None:
    """Return the scheduler for a search that sets `early_terminate` or `population`.

    Returns None if the search sets neither of them. `max_kimg` is the length of the longest trial.
    `trials` is the folder that contains all trials' folders.
    """
    if not spec.early_terminate and spec.population is None:
        return None
    exchange = None
    if spec.population is not None:
        algorithm = PopulationBasedTraining(
            spec.population, spec.space, max_kimg, spec.run_cap, spec.seed
        )
        exchange = WeightExchange(
            algorithm, trials, lambda point: absolute_paths(run_config(spec, point))
        )
    rules = StoppingRules(spec.early_terminate, max_kimg)
    return EarlyStoppingScheduler(rules, spec.metric, trials, exchange, partial(is_repeat, spec))


def observation_of(row: Mapping[str, Any], trial: int, metric: Metric) -> Observation | None:
    """Convert a row (one evaluation of a trial) to an observation for the stopping rules.

    `trial` is the trial's number. In an observation, a lower value is better, so the value is
    negated if the metric is maximized. The observation's error includes only the randomness of the
    generated pictures, because all trials use the same real pictures. Its difference also includes
    the luck of a seed, as far as it was measured for this metric (see `prior_of`). Returns None if
    the row has no metric value, for example because the trial diverged.
    """
    value = value_of(row, metric.name)
    if value is None:
        return None
    sign = -1 if metric.goal == "maximize" else 1
    error = value_of(row, fakes_error_name(metric.name), 0.0) or 0.0
    difference = math.sqrt(2) * math.hypot(error, prior_of(metric.name).sd * value)
    return Observation(trial, row["kimg"], sign * value, error, difference)


class EarlyStoppingScheduler(FIFOScheduler):
    """Applies the stopping rules and population-based training to each evaluation of a trial.

    `exchange` is None if the search does not use population-based training. `trials` is the folder
    that contains all trials' folders. `is_repeat` takes a trial's point, and returns whether the
    trial trains an earlier configuration again, with another seed. Such a trial is neither stopped
    nor compared with others. Otherwise, only good seeds of a configuration would reach the end, and
    its mean over seeds would be too good.

    Ray does not store this scheduler. So after a restart, the scheduler reads the evaluations of
    the restored trials from their folders again.
    """

    def __init__(
        self,
        rules: StoppingRules,
        metric: Metric,
        trials: Path,
        exchange: WeightExchange | None = None,
        is_repeat: Callable[[Mapping[str, Any]], bool] = lambda point: False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rules = rules
        self._search_metric = metric
        self._trials = trials
        self._exchange = exchange
        self._is_repeat = is_repeat
        self._added: list[Trial] = []  # see `_admit`
        # {trial id: number among the trials that the rules compare}; brackets depend on it
        self._compared: dict[str, int] = {}

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Remember the trial for `_admit`; Ray adds restored trials in no particular order."""
        if not self._is_repeat(trial.config["point"]):
            self._added.append(trial)

    def _admit(self) -> None:
        """Number the added trials, and pass their earlier evaluations to the stopping rules.

        Only restored trials have earlier evaluations.
        """
        added, self._added = sorted(self._added, key=lambda trial: trial.trial_id), []
        for trial in added:
            self._compared.setdefault(trial.trial_id, len(self._compared))
            last_kimg = (trial.last_result or {}).get("kimg", 0.0)
            for row in read_rows(self._trials / trial.trial_id) if last_kimg else []:
                observation = observation_of(row, trial.config["number"], self._search_metric)
                if observation is not None and row["kimg"] <= last_kimg:
                    self._decide(trial, observation)
                    if self._exchange is not None:
                        self._exchange.replay(observation)

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: Mapping[str, Any]
    ) -> str:
        """Return STOP if a rule stops the trial, otherwise CONTINUE.

        If a rule stops the trial, the reason is written to the trial's folder. After a restart, a
        trial reports its earlier evaluations again. The rules record all these evaluations, but
        only the last one can stop the trial.
        """
        self._admit()
        if self._is_repeat(trial.config["point"]):
            return str(TrialScheduler.CONTINUE)
        observation = observation_of(result, trial.config["number"], self._search_metric)
        reason = "" if observation is None else self._decide(trial, observation)
        if result.get(REPEATED):
            if observation is not None and self._exchange is not None:
                self._exchange.replay(observation)
            return str(TrialScheduler.CONTINUE)
        if result.get("outcome", "running") == "running":
            if reason:
                write_stop(self._trials / trial.trial_id, result["kimg"], reason)
                return str(TrialScheduler.STOP)
            if observation is not None and self._exchange is not None:
                self._exchange.observe(observation, result, trial.config["point"])
        return str(TrialScheduler.CONTINUE)

    def _decide(self, trial: Trial, observation: Observation) -> str:
        number = self._compared.setdefault(trial.trial_id, len(self._compared))
        return self._rules.decide(observation._replace(trial=number))
