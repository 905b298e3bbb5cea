"""Suggest trials to Ray Tune; end at run_cap, at the target, when settled, or without points."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.names import best_name, fakes_error_name, value_of
from fastgan_ray.search.file.spec import SearchSpec, run_config
from fastgan_ray.search.repeats import with_seed
from fastgan_ray.search.warm_start import EarlierTrial
from fastgan_ray.tune.ray.compat import FINISHED
from fastgan_ray.tune.suggest.compat import cut_journal
from fastgan_ray.tune.suggest.curve_sampler import CurveSampler
from fastgan_ray.tune.suggest.parameters import point_of
from fastgan_ray.tune.suggest.points import PointRules, PointState, key_of
from fastgan_ray.tune.suggest.samplers import make_sampler
from fastgan_ray.tune.suggest.settled import Settled
from fastgan_ray.tune.suggest.study import (
    ask,
    failed_trial,
    incomplete,
    open_study,
    point_count,
    reject,
    report_end,
    report_value,
)
from fastgan_ray.tune.trial.folder import trial_name

ATTEMPTS = 100  # the search ends if this many attempts in a row find no new and valid point
EARLIER_TRIED = 3  # how many of another search's best points follow the published default


@dataclass
class State:
    """The state of the searcher. This state and the Optuna study determine the next suggestion."""

    sampler: optuna.samplers.BaseSampler
    points: PointState
    suggested: int = 0
    running: dict[str, int] = field(default_factory=dict)  # {trial's name: its number in the study}
    target_reached: bool = False
    exhausted: bool = False  # no new and valid point was found in ATTEMPTS attempts


class StudySearcher(Searcher):
    """Suggests the trials of a search, first the published default, and learns from their results.

    A suggestion is a dict. "number" is the trial's number, "point" has the parameter values by
    dotted name, and "run" is the whole configuration as nested dicts. At most `max_concurrent`
    trials run at the same time. `configure` converts a point to a configuration. `journal` is the
    file of the Optuna study.

    If the search has several `seeds`, a point also has train.seed. A configuration whose trials
    have all finished is suggested again with its next seed, before any new point. A new point is
    suggested only if more trials are left than the configurations that still train may need for
    their next seeds.

    `earlier_trials` are trials of an earlier search, the best first. The points of the first
    `EARLIER_TRIED` are tried directly after the default. All are added to the Optuna study. Two
    samplers learn from them: `curves`, and TPE, which ranks every result of this search above them
    (see `frozen_earlier_trial`).

    Ray's OptunaSearch is not used because it cannot mark trials as infeasible. It also cannot skip
    points that were tried before or that are not valid.
    """

    def __init__(
        self,
        spec: SearchSpec,
        journal: Path,
        max_concurrent: int | None = None,
        configure: Callable[[SearchSpec, Mapping[str, Any]], RunConfig] = run_config,
        earlier_trials: Sequence[EarlierTrial] = (),
    ) -> None:
        mode = "min" if spec.metric.goal == "minimize" else "max"
        super().__init__(metric=spec.metric.name, mode=mode)
        self._spec = spec
        self._journal = journal
        self._max_concurrent = max_concurrent
        self._configure = configure
        self._earlier_trials = earlier_trials
        self._rules = PointRules(spec)
        self._settled = Settled(spec, journal.parent)
        waiting = [earlier.point for earlier in earlier_trials[:EARLIER_TRIED]]
        points = PointState(random.Random(spec.seed), waiting=waiting)
        self.state = State(make_sampler(spec), points)
        self._study: optuna.Study | None = None

    @property
    def study(self) -> optuna.Study:
        """The Optuna study, which is opened when this property is first used."""
        return self._opened_study()

    def _opened_study(self) -> optuna.Study:
        if self._study is None:
            self._study = open_study(
                self._spec, self._journal, self.state.sampler, self._earlier_trials
            )
        return self._study

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the suggestion for the next trial.

        Returns None if `max_concurrent` trials are running, or if the next trial depends on how a
        running trial ends. Returns FINISHED if there is no further trial, if the search has reached
        its target, or if it is settled.
        """
        state, spec = self.state, self._spec
        if state.target_reached or state.suggested >= spec.run_cap:
            return FINISHED
        if self._max_concurrent is not None and len(state.running) >= self._max_concurrent:
            return None
        configurations = incomplete(self.study, spec.seeds) if spec.seeds > 1 else []
        for trials in configurations:
            if all(trial.state == TrialState.COMPLETE for trial in trials):
                return self._repeat(trials)
        needed = sum(spec.seeds - len(trials) for trials in configurations)
        may_repeat = bool(needed and state.running)
        if may_repeat and (state.exhausted or needed >= spec.run_cap - state.suggested):
            return None
        if self._settled.reached(self.study):
            return None if state.running else FINISHED
        for attempt in range(ATTEMPTS):
            if self._rules.all_tried(state.points):
                break
            suggestion = self._try_point(attempt)
            if suggestion is not None:
                return suggestion
        state.exhausted = True
        return None if may_repeat else FINISHED

    def _try_point(self, attempt: int) -> dict[str, Any] | None:
        """Choose a point; return its suggestion, or None if the point is not new or not valid.

        `attempt` is the number of rejected points since the last suggestion.
        """
        state, study = self.state, self.study
        fixed = self._rules.next_point(state.points, attempt, lambda: point_count(study))
        trial, point = ask(study, self._spec.space, fixed)
        if key_of(point) in state.points.tried:
            reject(study, trial, "tried before")
            return None
        state.points.tried.add(key_of(point))
        if self._spec.seeds > 1:
            point = with_seed(self._spec, point, 0)
        try:
            run = self._configure(self._spec, point)
        except UserError as error:
            reject(study, trial, str(error))
            return None
        return self._started(trial, point, run)

    def _repeat(self, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
        """Return a suggestion that trains a configuration again, with its next seed.

        `trials` are the earlier trials of the configuration.
        """
        spec = self._spec
        trial, point = ask(self.study, spec.space, point_of(trials[0], spec.space))
        trial.set_user_attr("repeat_of", trials[0].user_attrs["trial_id"])
        point = with_seed(spec, point, len(trials))
        return self._started(trial, point, self._configure(spec, point))

    def _started(
        self, trial: optuna.Trial, point: dict[str, Any], run: RunConfig
    ) -> dict[str, Any]:
        """Record that a trial of the study starts, and return its suggestion."""
        state = self.state
        number, name = state.suggested, trial_name(state.suggested)
        trial.set_user_attr("trial_id", name)
        trial.set_user_attr("seed", run.train.seed)
        state.running[name] = trial.number
        state.suggested += 1
        return {"number": number, "point": point, "run": run.model_dump()}

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Record a trial's metric value in the study, unless it is already recorded."""
        name = self._spec.metric.name
        value = value_of(result, name)
        self._continue_failed(trial_id)
        if trial_id not in self.state.running or value is None:
            return
        if result.get("orders"):  # the trial's settings now differ from those in the study
            return
        assert math.isfinite(value), (
            "a trial must not report NaN or infinity as a value; it must end as diverged"
        )
        error = value_of(result, fakes_error_name(name)) or 0.0
        report_value(self.study, self.state.running[trial_id], result["kimg"], value, error)
        if name in result and self._reaches_target(value):  # the value of a full evaluation
            self.state.target_reached = True

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Record in the study how a trial ended, unless this is already recorded."""
        row = result or {}
        if not error and row.get("outcome", "failed") != "failed":
            self._continue_failed(trial_id)
        if trial_id not in self.state.running:
            return
        self.on_trial_result(trial_id, row)
        number = self.state.running.pop(trial_id)
        outcome = "failed" if error else row.get("outcome", "failed")
        values = None
        if outcome == "finished" and not row.get("orders"):
            metrics = (self._spec.metric, *self._spec.costs)
            values = [row.get(best_name(metric.name), row[metric.name]) for metric in metrics]
        report_end(self.study, number, outcome, values)

    def _continue_failed(self, trial_id: str) -> None:
        """If a trial has failed but continues (`--resume`), let the study learn from it again.

        Optuna's trial stays failed, so the trial gets another one in the study.
        """
        if trial_id in self.state.running:
            return
        failed = failed_trial(self.study, trial_id)
        if failed is None:
            return
        trial, _ = ask(self.study, self._spec.space, point_of(failed, self._spec.space))
        for key in ("trial_id", "seed", "repeat_of"):
            if key in failed.user_attrs:
                trial.set_user_attr(key, failed.user_attrs[key])
        trial.set_user_attr("continues", True)
        self.state.running[trial_id] = trial.number

    def save(self, checkpoint_path: str) -> None:
        """Write the searcher's state and the journal's current length to a file."""
        self._opened_study()  # otherwise, the journal might not exist yet
        with Path(checkpoint_path).open("wb") as file:
            pickle.dump((self._journal.stat().st_size, self.state), file)

    def restore(self, checkpoint_path: str) -> None:
        """Restore the state that `save` wrote, and remove all later changes from the study."""
        with Path(checkpoint_path).open("rb") as file:
            length, self.state = pickle.load(file)  # noqa: S301 - written by `save`
        if isinstance(self.state.sampler, CurveSampler):
            self.state.sampler.spec = self._spec
        cut_journal(self._journal, length)
        self._study = None

    def _reaches_target(self, value: float) -> bool:
        target, goal = self._spec.metric.target, self._spec.metric.goal
        if target is None:
            return False
        return value <= target if goal == "minimize" else value >= target
