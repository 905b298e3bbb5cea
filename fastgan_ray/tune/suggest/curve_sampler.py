"""An Optuna sampler that learns from every evaluation of every trial (`sampler: curves`)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from fastgan_ray.search.curves.kernel import Hyperparameters
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.search.space import sobol
from fastgan_ray.tune.suggest.model import Model
from fastgan_ray.tune.suggest.parameters import distribution, encode
from fastgan_ray.tune.suggest.points import key_of
from fastgan_ray.tune.suggest.study import point_count
from fastgan_ray.tune.suggest.study_trials import trials_of

# The number of Sobol points, the published default among them, before the model chooses points.
FIRST_POINTS = 4
FIRST_POINTS_WITH_KNOWLEDGE = 1  # if the search learns from other data sets


class CurveSampler(BaseSampler):
    """Chooses points by a Gaussian process of learning curves (fastgan_ray.search.curves).

    The sampler learns from the evaluations of all trials that did not fail, including running
    trials. A pickled sampler continues as before: its choices depend only on the seed, the study,
    the hyperparameters of the last fit, and the state of a random generator. It must get `spec`
    again, because the search file may have changed (`knowledge`).
    """

    def __init__(self, spec: SearchSpec) -> None:
        self.spec = spec
        self._hyper: Hyperparameters | None = None
        self._random = RandomSampler(seed=spec.seed)
        self._model: Model | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without `_model`, which can be computed again, and without `spec`."""
        return {**vars(self), "_model": None, "spec": None}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the distributions of all parameters, including parameters with a `when`."""
        return {parameter.name: distribution(parameter) for parameter in self.spec.space}

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: Mapping[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Return the parameter values of the next point, in Optuna's format.

        A parameter is absent if the condition in its `when` is not met.
        """
        spec = self.spec
        trials = trials_of(study, spec)
        self._model = model = self._model or Model(study, spec)
        first = FIRST_POINTS if model.knowledge is None else FIRST_POINTS_WITH_KNOWLEDGE
        known = {key_of(known.point) for known in trials if known.values or known.is_infeasible}
        rng = random.Random(f"{spec.seed} {trial.number}")
        if len(known) < first:
            point = model.likely_point(study, rng) or sobol(
                spec.space, point_count(study) - 1, spec.seed
            )
        else:
            posterior = model.fitted(trials, self._hyper)
            self._hyper = posterior.hyper
            point = model.best_candidate(study, trials, posterior, rng).point
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
