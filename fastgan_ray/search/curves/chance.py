"""Estimate the probability that a trial ends among the best trials of its search.

The estimate uses the values of all trials of the search so far. It ignores the configurations of
the trials: the effects of different trials are independent. The Gaussian process of `kernel` is
fitted to all learning curves. It learns how strongly early values are related to values at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastgan_ray.search.curves.kernel import (
    Array,
    correlation_with_end,
    luck_covariance,
    mean_covariance,
    point_variance,
)
from fastgan_ray.search.curves.posterior import Posterior, fit, prior
from fastgan_ray.search.curves.trials import Trial, rows_of

DRAWS = 1000
ITERATIONS = 15
MAX_ROWS = 300  # evaluations that are used (see `rows_of`)
FAR = 1e3  # distance of two trials' effects: they are independent


class Forecast(NamedTuple):
    """The prediction of how all trials end.

    `chances` has, for each trial, the probability that the trial ends among the best.
    `correlations` has, for the kimg of each evaluation, the correlation (over trials) between the
    value at these kimg and the value at the end of the training.
    """

    chances: Array
    correlations: dict[float, float]


def forecast(trials: Sequence[Trial], total_kimg: float, share: float) -> Forecast:
    """Predict how all trials end; equal arguments give equal results.

    The points of the trials are not used. `share` is the fraction of the trials that count as the
    best; at least one trial counts.
    """
    points = [FAR * np.arange(len(trials), dtype=float)[:, None]]
    rows = rows_of(trials, total_kimg, MAX_ROWS)
    hyper = fit(points, rows, prior(1), iterations=ITERATIONS)
    posterior = Posterior(hyper, points, rows)
    mean, covariance = _ends(posterior, len(trials))
    count = max(1, round(share * len(trials)))
    normal = np.random.default_rng(0).normal(size=(DRAWS, len(trials)))
    root = np.linalg.cholesky(covariance + 1e-10 * np.eye(len(trials)))
    ends = mean + normal @ root.T
    worst_of_best = np.partition(ends, count - 1, axis=1)[:, count - 1 : count]
    kimgs = sorted({kimg for trial in trials for kimg in trial.values})
    correlations = {kimg: correlation_with_end(hyper, kimg / total_kimg) for kimg in kimgs}
    return Forecast((ends <= worst_of_best).mean(axis=0), correlations)


def _ends(posterior: Posterior, count: int) -> tuple[Array, Array]:
    """Return (mean, covariance) of the trials' values at the end, including the trials' luck.

    `count` is the number of trials. The errors of evaluations are not included.
    """
    hyper, time, trial = posterior.hyper, np.zeros(count), np.arange(count)
    cross = posterior.cross(posterior.points, time, trial)
    white = posterior.whitened(cross)
    zero = np.zeros((1, 1))
    own = point_variance(hyper) + luck_covariance(hyper, zero)
    covariance = own * np.eye(count) + mean_covariance(hyper, zero) - white.T @ white
    return np.asarray(posterior.mean + cross @ posterior.solved), covariance
