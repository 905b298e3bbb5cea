"""How likely is a trial to end among the best, by its values so far and those of other trials?

The trials are those of one search, and their configurations are ignored: each trial has an effect
of its own. The Gaussian process of `kernel` then says, from all learning curves so far, how much an
early value tells about the value at the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fastgan_ray.search.curves.kernel import (
    Array,
    Hyperparameters,
    effect_correlation,
    luck_covariance,
    mean_covariance,
    point_variance,
)
from fastgan_ray.search.curves.posterior import Posterior, fit, prior
from fastgan_ray.search.curves.trials import Trial, rows_of

DRAWS = 1000
ITERATIONS = 15
FAR = 1e3  # distance of two trials' effects: they are independent


class Forecast(NamedTuple):
    """The chance of each trial to end among the best, and how much values tell about the end.

    `correlations` maps the kimg of each evaluation to the correlation, over trials, of the value
    there with the value at the end.
    """

    chances: Array
    correlations: dict[float, float]


def forecast(
    values: Sequence[Mapping[float, float]], total_kimg: float, share: float, max_rows: int = 300
) -> Forecast:
    """Predict how all trials end.

    `values` has {kimg: value} for each trial; lower values are better. `share` is the share of the
    trials that count as the best, at least one trial. The result depends on nothing else.
    """
    trials = [Trial({}, of_trial) for of_trial in values]
    points = [FAR * np.arange(len(trials), dtype=float)[:, None]]
    rows = rows_of(trials, total_kimg, max_rows)
    hyper = fit(points, rows, prior(1), iterations=ITERATIONS)
    posterior = Posterior(hyper, points, rows)
    mean, covariance = _ends(posterior, len(trials))
    count = max(1, round(share * len(trials)))
    normal = np.random.default_rng(0).normal(size=(DRAWS, len(trials)))
    root = np.linalg.cholesky(covariance + 1e-10 * np.eye(len(trials)))
    ends = mean + normal @ root.T
    worst_of_best = np.partition(ends, count - 1, axis=1)[:, count - 1 : count]
    kimgs = sorted({kimg for of_trial in values for kimg in of_trial})
    told = {kimg: correlation(hyper, kimg / total_kimg) for kimg in kimgs}
    return Forecast((ends <= worst_of_best).mean(axis=0), told)


def correlation(hyper: Hyperparameters, share: float) -> float:
    """Return the correlation, over trials, of the value at a share of a training with its end."""
    gap = np.array([-math.log(share)])
    zero = np.zeros(1)
    effect, luck = point_variance(hyper), luck_covariance(hyper, zero)
    common = effect * effect_correlation(hyper, gap) + luck_covariance(hyper, gap)
    return float((common / (effect + luck + hyper.nugget**2))[0])


def _ends(posterior: Posterior, count: int) -> tuple[Array, Array]:
    """Return mean and covariance of the values of the trials, with their luck, at the end."""
    hyper, time, trial = posterior.hyper, np.zeros(count), np.arange(count)
    cross = posterior.cross(posterior.points, time, trial)
    white = posterior.whitened(cross)
    zero = np.zeros((1, 1))
    own = point_variance(hyper) + luck_covariance(hyper, zero)
    covariance = own * np.eye(count) + mean_covariance(hyper, zero) - white.T @ white
    return np.asarray(posterior.mean + cross @ posterior.solved), covariance
