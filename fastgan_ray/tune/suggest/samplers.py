"""Make Optuna's samplers, and convert parameters and their values to Optuna's format."""

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

# The number of random trials before GP and CMA-ES use their model: a quarter of all trials, within
# these limits. Both learn only from finished trials.
STARTUP_TRIALS = (4, 6)
TPE_STARTUP_TRIALS = 3
# The weight of TPE's prior; each trial has weight 1. With a lower weight, and if trials are few and
# noisy, TPE stays too close to the best point so far (docs/findings.md).
TPE_PRIOR_WEIGHT = 4.0
# The population of a genetic sampler: a quarter of all trials, within these limits.
POPULATION_SIZE = (6, 50)
_PLAIN = (bool, int, float, str)


def make_sampler(spec: SearchSpec) -> samplers.BaseSampler:
    """Return the Optuna sampler of a search; for the methods grid and random, a random sampler."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns that some samplers are experimental
        return SAMPLERS.get(spec.sampler, _random)(spec)


def suggest(trial: BaseTrial, parameter: Parameter) -> Value:
    """Let Optuna choose the value of `parameter` in `trial`; return it in a RunConfig's format."""
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
    """Convert `prior`, a trial of another search, to a trial of this search's Optuna study.

    In the study, the trial is PRUNED after one training picture. Its value is its rank in the other
    search, with a minus sign if this search maximizes its metric. It has no value if this search
    has several metrics. TPE ranks pruned trials below finished trials, first by training length,
    then by value. So the priors guide TPE only until this search has results itself.
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
    """Return the Optuna distribution from which `suggest` draws the values of a parameter."""
    start = parameter.at(0) if parameter.values else parameter.snap(parameter.low)
    probe = FixedTrial({parameter.name: encode(parameter, start)})
    suggest(probe, parameter)
    return probe.distributions[parameter.name]


def encode(parameter: Parameter, value: Value) -> Scalar:
    """Convert a value of `parameter` to Optuna's format.

    If the parameter's possible values include a list, or values that are equal in Python (such as 1
    and True), every value becomes a JSON text. Otherwise the value stays as it is.
    """
    plain = all(choice is None or isinstance(choice, _PLAIN) for choice in parameter.values)
    if not parameter.values or (plain and len(set(parameter.values)) == len(parameter.values)):
        return cast(Scalar, value)
    return json.dumps(value)


def _quarter(spec: SearchSpec, limits: tuple[int, int]) -> int:
    """Return a quarter of the number of trials, but at least limits[0] and at most limits[1]."""
    return min(max(spec.run_cap // 4, limits[0]), limits[1])


def _tpe(spec: SearchSpec) -> samplers.BaseSampler:
    # Sample each parameter independently: multivariate TPE finds good points later
    # (docs/findings.md).
    return samplers.TPESampler(
        seed=spec.seed,
        n_startup_trials=TPE_STARTUP_TRIALS,
        prior_weight=TPE_PRIOR_WEIGHT,
        constant_liar=True,
    )


def _gp(spec: SearchSpec) -> samplers.BaseSampler:
    return samplers.GPSampler(seed=spec.seed, n_startup_trials=_quarter(spec, STARTUP_TRIALS))


def _cmaes(spec: SearchSpec) -> samplers.BaseSampler:
    # CMA-ES samples categorical parameters, and parameters with a `when`, at random.
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
