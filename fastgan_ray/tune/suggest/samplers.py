"""Make Optuna's samplers (SAMPLERS), with their settings."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from optuna import samplers

from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.tune.suggest.curve_sampler import CurveSampler

# The number of random configurations before GP and CMA-ES use their model: a quarter of all
# configurations, within these limits. Both learn only from finished trials.
STARTUP_CONFIGURATIONS = (4, 6)
TPE_STARTUP_CONFIGURATIONS = 3
# The weight of TPE's prior; each trial has weight 1. With a lower weight, and if trials are few and
# noisy, TPE stays too close to the best point so far (docs/findings.md).
TPE_PRIOR_WEIGHT = 4.0
# The population of a genetic sampler: a quarter of all configurations, within these limits.
POPULATION_SIZE = (6, 50)


def make_sampler(spec: SearchSpec) -> samplers.BaseSampler:
    """Return a search's Optuna sampler; a random one if the method is "grid" or "random"."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns that some samplers are experimental
        return SAMPLERS.get(spec.sampler, _random)(spec)


def _quarter(spec: SearchSpec, limits: tuple[int, int]) -> int:
    """Return the number of trials that train a quarter of all configurations with all seeds.

    The quarter is at least limits[0] and at most limits[1] configurations.
    """
    return spec.seeds * min(max(spec.run_cap // spec.seeds // 4, limits[0]), limits[1])


def _tpe(spec: SearchSpec) -> samplers.BaseSampler:
    # Sample each parameter independently: multivariate TPE finds good points later
    # (docs/findings.md).
    return samplers.TPESampler(
        seed=spec.seed,
        n_startup_trials=spec.seeds * TPE_STARTUP_CONFIGURATIONS,
        prior_weight=TPE_PRIOR_WEIGHT,
        constant_liar=True,
    )


def _gp(spec: SearchSpec) -> samplers.BaseSampler:
    return samplers.GPSampler(
        seed=spec.seed, n_startup_trials=_quarter(spec, STARTUP_CONFIGURATIONS)
    )


def _cmaes(spec: SearchSpec) -> samplers.BaseSampler:
    # CMA-ES samples categorical parameters, and parameters with a `when`, at random.
    return samplers.CmaEsSampler(
        seed=spec.seed,
        n_startup_trials=_quarter(spec, STARTUP_CONFIGURATIONS),
        warn_independent_sampling=False,
    )


def _nsga2(spec: SearchSpec) -> samplers.BaseSampler:
    return samplers.NSGAIISampler(seed=spec.seed, population_size=_quarter(spec, POPULATION_SIZE))


def _nsga3(spec: SearchSpec) -> samplers.BaseSampler:
    return samplers.NSGAIIISampler(seed=spec.seed, population_size=_quarter(spec, POPULATION_SIZE))


def _random(spec: SearchSpec) -> samplers.BaseSampler:
    return samplers.RandomSampler(seed=spec.seed)


SAMPLERS: dict[str, Callable[[SearchSpec], samplers.BaseSampler]] = {
    "curves": CurveSampler,
    "tpe": _tpe,
    "gp": _gp,
    "cmaes": _cmaes,
    "nsga2": _nsga2,
    "nsga3": _nsga3,
}
