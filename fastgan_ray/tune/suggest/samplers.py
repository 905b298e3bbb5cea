"""Optuna's samplers by their names in a search file, and parameters as Optuna takes them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import cast

from optuna import samplers
from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial, FixedTrial, FrozenTrial, TrialState, create_trial

from fastgan_ray.config.strict_yaml import Value
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.search.space import Parameter
from fastgan_ray.search.warm_start import Prior

Scalar = None | bool | int | float | str

# Random trials before the model of GP and CMA-ES, which learn from finished trials only: a quarter
# of all trials, within these limits.
STARTUP_TRIALS = (4, 6)
TPE_STARTUP_TRIALS = 3
# The weight of TPE's prior, where a trial has 1. With few and noisy trials, a lower weight stays
# too close to the best point so far (docs/findings.md).
TPE_PRIOR_WEIGHT = 4.0
POPULATION_SIZE = (6, 50)  # of a genetic sampler: a quarter of all trials, within these limits
_PLAIN = (bool, int, float, str)


def make_sampler(spec: SearchSpec) -> samplers.BaseSampler:
    """Make the seeded sampler of a search; methods without a model hardly ever use it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about samplers that Optuna calls experimental
        return SAMPLERS.get(spec.sampler, _random)(spec)


def suggest(trial: BaseTrial, parameter: Parameter) -> Value:
    """Return the trial's value of a parameter, as a RunConfig takes it."""
    name, count = parameter.name, parameter.size
    if parameter.values:
        choices = [encode(parameter, value) for value in parameter.values]
        return parameter.values[choices.index(trial.suggest_categorical(name, choices))]
    if count is None or parameter.log:
        return parameter.snap(
            trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log)
        )
    low, high = parameter.snap(parameter.low), parameter.snap(parameter.high)
    if parameter.integer:
        return trial.suggest_int(name, int(low), int(high), step=int(parameter.q))
    return parameter.snap(trial.suggest_float(name, low, high, step=parameter.q))


def frozen_prior(prior: Prior, spec: SearchSpec) -> FrozenTrial:
    """Convert another search's trial for a study: PRUNED after one picture, its rank as the value.

    TPE ranks stopped trials below finished ones, by how far they came and then by value. So the
    priors guide it until the search has results of its own, whatever their metric was.
    """
    sign = -1 if spec.metric.goal == "maximize" else 1
    parameters = [parameter for parameter in spec.space if parameter.name in prior.point]
    return create_trial(
        state=TrialState.PRUNED,
        params={p.name: encode(p, prior.point[p.name]) for p in parameters},
        distributions={p.name: _distribution(p) for p in parameters},
        intermediate_values={} if spec.costs else {1: sign * float(prior.rank)},
        user_attrs={"prior": prior.trial_id},
    )


def _distribution(parameter: Parameter) -> BaseDistribution:
    """Return the distribution that `suggest` asks Optuna for."""
    start = parameter.at(0) if parameter.values else parameter.snap(parameter.low)
    probe = FixedTrial({parameter.name: encode(parameter, start)})
    suggest(probe, parameter)
    return probe.distributions[parameter.name]


def encode(parameter: Parameter, value: Value) -> Scalar:
    """Return a value as Optuna takes it: lists, and values that are equal (1, True), as JSON."""
    plain = all(choice is None or isinstance(choice, _PLAIN) for choice in parameter.values)
    if not parameter.values or (plain and len(set(parameter.values)) == len(parameter.values)):
        return cast(Scalar, value)
    return json.dumps(value)


def _quarter(spec: SearchSpec, limits: tuple[int, int]) -> int:
    """Return a quarter of the trials, within limits."""
    return min(max(spec.run_cap // 4, limits[0]), limits[1])


def _tpe(spec: SearchSpec) -> samplers.BaseSampler:
    # Each parameter by itself: multivariate TPE is slower to find good points (docs/findings.md).
    return samplers.TPESampler(
        seed=spec.seed,
        n_startup_trials=TPE_STARTUP_TRIALS,
        prior_weight=TPE_PRIOR_WEIGHT,
        constant_liar=True,
    )


def _gp(spec: SearchSpec) -> samplers.BaseSampler:
    return samplers.GPSampler(seed=spec.seed, n_startup_trials=_quarter(spec, STARTUP_TRIALS))


def _cmaes(spec: SearchSpec) -> samplers.BaseSampler:
    # It samples categorical parameters, and those under a `when`, at random.
    return samplers.CmaEsSampler(
        seed=spec.seed,
        n_startup_trials=_quarter(spec, STARTUP_TRIALS),
        warn_independent_sampling=False,
    )


def _nsga2(spec: SearchSpec) -> samplers.BaseSampler:
    return samplers.NSGAIISampler(seed=spec.seed, population_size=_quarter(spec, POPULATION_SIZE))


def _nsga3(spec: SearchSpec) -> samplers.BaseSampler:
    return samplers.NSGAIIISampler(seed=spec.seed, population_size=_quarter(spec, POPULATION_SIZE))


def _random(spec: SearchSpec) -> samplers.BaseSampler:
    return samplers.RandomSampler(seed=spec.seed)


SAMPLERS: dict[str, Callable[[SearchSpec], samplers.BaseSampler]] = {
    "tpe": _tpe,
    "gp": _gp,
    "cmaes": _cmaes,
    "nsga2": _nsga2,
    "nsga3": _nsga3,
}
