"""What is tried next: a grid or a sampler of Optuna's, kept in a study beside the results."""

from __future__ import annotations

import json
import math
import pickle
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.names import value_of
from fastgan_ray.search.file.spec import SearchSpec, run_config, start_point
from fastgan_ray.search.space import assign, grid, sample, size, sobol
from fastgan_ray.search.warm_start import Prior
from fastgan_ray.tune.ray.compat import FINISHED
from fastgan_ray.tune.suggest.compat import (
    cut_journal,
    open_journal,
    running_trial,
    unlock_journal,
)
from fastgan_ray.tune.suggest.samplers import encode, frozen_prior, make_sampler, suggest
from fastgan_ray.tune.trial.trainable import trial_id as name_of

Point = dict[str, Any]

ATTEMPTS = 100  # at a point that is valid and new, before the search ends for want of one
SAMPLER_ATTEMPTS = 10  # of those, by the sampler, which may be stuck on points that it knows
ENUMERABLE = 100_000
TRIED_AGAIN = 3  # of another search's best, right after the published default
# How a trial went wrong because of its configuration: a sampler shall keep away from there.
INFEASIBLE = ("diverged", "out_of_memory")


@dataclass
class State:
    """Everything that the next suggestion depends on besides the study."""

    sampler: optuna.samplers.BaseSampler
    rng: random.Random
    suggested: int = 0
    seen: set[str] = field(default_factory=set)
    live: dict[str, int] = field(default_factory=dict)
    waiting: list[Point] = field(default_factory=list)  # to be tried next, maybe in part
    reached: bool = False


class StudySearcher(Searcher):
    """Suggests points of a search's space, the published default first, and learns from trials.

    A suggestion is {"number", "point" (flat), "run" (nested RunConfig)}; its trial is named by its
    number. In the study a finished trial is COMPLETE, one stopped early PRUNED with the values that
    it reported (by images shown), one that diverged or ran out of memory PRUNED against a
    constraint, which TPE heeds, and one that failed FAIL; the attribute `outcome` tells them
    apart. One that took over from another is PRUNED too: its point is not where it ended.
    `priors` come before all others, as if stopped at once, so that whatever is measured here
    outranks them. `save`
    and `restore` return to the very state: the study's journal is cut back to where it stood.
    """

    def __init__(
        self,
        spec: SearchSpec,
        journal: Path,
        max_concurrent: int | None = None,
        configure: Callable[[SearchSpec, Mapping[str, Any]], RunConfig] = run_config,
        priors: Sequence[Prior] = (),
    ) -> None:
        mode = "min" if spec.metric.goal == "minimize" else "max"
        super().__init__(metric=spec.metric.name, mode=mode)
        self._spec = spec
        self._metrics = (spec.metric, *spec.costs)
        self._journal = journal
        self._max_concurrent = max_concurrent
        self._configure = configure
        self._size = size(spec.space)
        self._grid = grid(spec.space) if spec.method == "grid" else None
        self._priors = priors
        self.state = State(make_sampler(spec), random.Random(spec.seed))
        self.state.waiting = [prior.point for prior in priors[:TRIED_AGAIN]]
        self._study: optuna.Study | None = None

    @property
    def study(self) -> optuna.Study:
        """The study, opened when first needed."""
        if self._study is None:
            unlock_journal(self._journal)
            self._study = optuna.create_study(
                study_name=self._spec.name,
                storage=open_journal(self._journal),
                sampler=self.state.sampler,
                directions=[metric.goal for metric in self._metrics],
                load_if_exists=True,
            )
            if not self._study.get_trials(deepcopy=False):
                for prior in self._priors:
                    self._study.add_trial(frozen_prior(prior, self._spec))
        return self._study

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial, FINISHED if the target is reached or the space exhausted, None = wait."""
        state = self.state
        if state.reached or state.suggested >= self._spec.run_cap:
            return FINISHED
        if self._max_concurrent is not None and len(state.live) >= self._max_concurrent:
            return None
        for attempt in range(ATTEMPTS):
            if len(state.seen) == self._size:
                break
            trial, point = self._ask(attempt)
            key = _key(point)
            if key in state.seen:
                self._reject(trial, "tried before")
                continue
            state.seen.add(key)
            try:
                run = self._configure(self._spec, point)
            except UserError as error:
                self._reject(trial, str(error))
                continue
            name = name_of(state.suggested)
            trial.set_user_attr("trial_id", name)
            trial.set_user_attr("seed", run.train.seed)
            state.live[name] = trial.number
            state.suggested += 1
            return {"number": state.suggested - 1, "point": point, "run": run.model_dump()}
        return FINISHED

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Store an intermediate value; a row that comes again is ignored.

        A study of several metrics has none: Optuna ranks stopped trials by one metric only.
        """
        name = self._spec.metric.name
        value = value_of(result, name)
        if trial_id not in self.state.live or value is None:
            return
        if result.get("orders"):  # it has other settings now than the study knows of
            return
        assert math.isfinite(value), "the trial turns a value that is not finite into an outcome"
        frozen = self.study.get_trials(deepcopy=False)[self.state.live[trial_id]]
        step = round(result["kimg"] * 1000)
        if len(self._metrics) == 1 and step not in frozen.intermediate_values:
            running_trial(self.study, self.state.live[trial_id]).report(value, step)
        if name in result:  # a target is not for the value of a cheap evaluation
            self.state.reached = self.state.reached or self._reaches_target(value)

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how a trial ended; one already told is left alone."""
        if trial_id not in self.state.live:
            return
        self.on_trial_result(trial_id, result or {})
        number = self.state.live.pop(trial_id)
        outcome = "failed" if error or result is None else result.get("outcome", "failed")
        trial = running_trial(self.study, number)
        trial.set_user_attr("outcome", "stopped" if outcome == "running" else outcome)
        if outcome in INFEASIBLE:
            trial.set_constraint("ends well", 1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of constraints that a sampler does not use
            if outcome == "finished" and not (result or {}).get("orders"):
                assert result is not None
                self.study.tell(number, [result[metric.name] for metric in self._metrics])
            elif outcome in ("finished", "running", *INFEASIBLE):
                self.study.tell(number, state=TrialState.PRUNED)
            else:
                self.study.tell(number, state=TrialState.FAIL)

    def save(self, checkpoint_path: str) -> None:
        """Write the state, with the journal's length that goes with it."""
        assert self.study.study_name == self._spec.name  # opened: an empty journal is none
        with Path(checkpoint_path).open("wb") as file:
            pickle.dump((self._journal.stat().st_size, self.state), file)

    def restore(self, checkpoint_path: str) -> None:
        """Return to what `save` wrote: the study forgets whatever came after."""
        with Path(checkpoint_path).open("rb") as file:
            length, self.state = pickle.load(file)  # noqa: S301 - written by `save`
        cut_journal(self._journal, length)
        self._study = None

    def _ask(self, attempt: int) -> tuple[optuna.Trial, Point]:
        """A new trial of the study, and its point."""
        fixed = self._fixed_point(attempt)
        if fixed is not None:
            encoded = {
                p.name: encode(p, fixed[p.name]) for p in self._spec.space if p.name in fixed
            }
            self.study.enqueue_trial(encoded)
        trial = self.study.ask()
        with warnings.catch_warnings():
            # Optuna warns of whatever it was not made for but does, as of a multiple of 0.1.
            warnings.simplefilter("ignore")
            return trial, assign(self._spec.space, lambda parameter: suggest(trial, parameter))

    def _fixed_point(self, attempt: int) -> Point | None:
        """The point to try next, where it is not the sampler's to choose; maybe a part of one."""
        spec, state, seen = self._spec, self.state, self.state.seen
        start = start_point(spec)
        if self._grid is not None:
            rest = [point for point in self._grid if _key(point) not in seen]
            return start if start in rest else rest[0]
        if not seen:
            if spec.method == "bayes":
                return start
            return assign(
                spec.space,
                lambda p: start[p.name] if p.name in start else p.sample(self.state.rng),
            )
        if state.waiting:
            return state.waiting.pop(0)
        if self._size is not None and self._size <= ENUMERABLE and self._size <= 2 * len(seen):
            # Half of the space is done: drawing at random would mostly repeat it.
            return self.state.rng.choice([p for p in grid(spec.space) if _key(p) not in seen])
        if spec.sampler == "qmc":
            return sobol(spec.space, len(self.study.get_trials(deepcopy=False)), spec.seed)
        if spec.method == "random" or attempt >= SAMPLER_ATTEMPTS:
            return sample(spec.space, self.state.rng)
        return None

    def _reject(self, trial: optuna.Trial, reason: str) -> None:
        trial.set_user_attr("reason", reason)
        self.study.tell(trial, state=TrialState.FAIL)

    def _reaches_target(self, value: float) -> bool:
        target = self._spec.metric.target
        if target is None:
            return False
        return value <= target if self._spec.metric.goal == "minimize" else value >= target


def _key(point: Point) -> str:
    return json.dumps(point, sort_keys=True)
