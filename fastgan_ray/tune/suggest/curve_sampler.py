"""An Optuna sampler that learns from every evaluation of every trial (`sampler: curves`)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from fastgan_ray.search.curves.choice import fitted, next_point
from fastgan_ray.search.curves.kernel import Hyperparameters
from fastgan_ray.search.curves.trials import Trial
from fastgan_ray.search.file.spec import SearchSpec, longest_kimg
from fastgan_ray.search.knowledge.responses import Knowledge, knowledge_of
from fastgan_ray.search.space import sobol
from fastgan_ray.tune.suggest.parameters import INFEASIBLE, distribution, encode, point_of
from fastgan_ray.tune.suggest.points import key_of
from fastgan_ray.tune.suggest.study import errors_of, point_count

# The number of Sobol points, the published default among them, before the model chooses points.
FIRST_POINTS = 4
FIRST_POINTS_WITH_KNOWLEDGE = 1  # if the search learns from other data sets


class CurveSampler(BaseSampler):
    """Chooses points by a Gaussian process of learning curves (fastgan_ray.search.curves).

    The sampler learns from the evaluations of all trials that did not fail, including running
    trials. A pickled sampler continues as before: its choices depend only on the seed, the study,
    the hyperparameters of the last fit, and the state of a random generator.
    """

    def __init__(self, spec: SearchSpec) -> None:
        self._spec = spec
        self._hyper: Hyperparameters | None = None
        self._random = RandomSampler(seed=spec.seed)

    @cached_property
    def _knowledge(self) -> Knowledge | None:
        """What other data sets say about the search; None if nothing (see `knowledge_of`)."""
        return knowledge_of(self._spec)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without `_knowledge`, which can be computed again."""
        return {name: value for name, value in vars(self).items() if name != "_knowledge"}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the distributions of all parameters, including parameters with a `when`."""
        return {parameter.name: distribution(parameter) for parameter in self._spec.space}

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: Mapping[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Return the parameter values of the next point, in Optuna's format.

        A parameter is absent if the condition in its `when` is not met.
        """
        spec = self._spec
        trials = self._trials(study)
        first = FIRST_POINTS if self._knowledge is None else FIRST_POINTS_WITH_KNOWLEDGE
        known = {key_of(known.point) for known in trials if known.values or known.is_infeasible}
        if len(known) < first:
            point = sobol(spec.space, point_count(study) - 1, spec.seed)
        else:
            length, knowledge = longest_kimg(spec), self._knowledge
            posterior = fitted(spec.space, trials, length, self._hyper, knowledge)
            self._hyper = posterior.hyper
            rng = random.Random(f"{spec.seed} {trial.number}")
            point = next_point(spec.space, trials, posterior, rng, knowledge)
        return {p.name: encode(p, point[p.name]) for p in spec.space if p.name in point}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:  # noqa: ANN401 - any setting
        """Return a random value for a parameter that is absent in the result of `sample_relative`.

        `sample_relative` leaves out a parameter if the condition in its `when` is not met. But the
        condition may be met by fixed values of other parameters.
        """
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _trials(self, study: optuna.Study) -> list[Trial]:
        """Return the trials to learn from, including running trials.

        Failed trials, rejected points, and trials of another search are left out. A trial that
        diverged or ran out of memory does not count as failed.
        """
        known = study.get_trials(deepcopy=False)
        return [
            self._trial(trial)
            for trial in known
            if trial.state != TrialState.FAIL and "trial_id" in trial.user_attrs
        ]

    def _trial(self, trial: FrozenTrial) -> Trial:
        sign = -1 if self._spec.metric.goal == "maximize" else 1
        return Trial(
            point=point_of(trial, self._spec.space),
            values={step / 1000: sign * value for step, value in trial.intermediate_values.items()},
            is_running=trial.state == TrialState.RUNNING,
            is_infeasible=trial.user_attrs.get("outcome") in INFEASIBLE,
            errors={step / 1000: error for step, error in errors_of(trial).items()},
        )
