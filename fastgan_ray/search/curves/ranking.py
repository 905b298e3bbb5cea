"""Rank the configurations that a search has tried by the expected value of a new training.

The best value of a search is partly luck: with another seed, the same configuration usually has a
worse value (the winner's curse). The Gaussian process of `kernel` separates the effect of a
configuration from the luck of its trainings, and learns from similar configurations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy.stats import norm

from fastgan_ray.search.curves.features import encode, encoded_parameters
from fastgan_ray.search.curves.kernel import (
    Array,
    correlation_with_end,
    matern,
    squared_distances,
)
from fastgan_ray.search.curves.posterior import (
    Posterior,
    Rows,
    fit,
    hyperparameter_draws,
    prior,
)
from fastgan_ray.search.curves.trials import LENGTH, Scale, Trial, end_times, rows_of, scale_of
from fastgan_ray.search.space import SearchSpace

MIN_TRIALS = 4  # smallest number of trials with a value from which anything is predicted
CONFIDENCE = 0.8  # the probability of all intervals
MAX_ROWS = 300  # evaluations that are used (see `rows_of`)
POSTERIORS = 24  # draws of the hyperparameters; each has its own Gaussian process
DRAWS = 4800  # draws of all expected values, from which the chance of being the best is counted
# The hyperparameters are fitted to at most this number of trials. A search with more trials uses
# only the most probable hyperparameters, without draws.
MANY_TRIALS = 150
CURVE_POINTS = 24
TINY = 1e-12

Normal: TypeAlias = tuple[Array, Array]  # mean (n,) and covariance (n, n)


class Expectation(NamedTuple):
    """What is expected of a new training of a configuration, in the unit of the metric.

    `value` is the expected value at the end of the training: the median over trainings, because the
    mean is computed on the scale of the process (see `scale_of`). It is between `low` and `high`
    with the probability `CONFIDENCE`; this interval does not contain the luck of a single training.
    `chance` is the probability that the configuration has the best expected value of all tried
    configurations.
    """

    value: float
    low: float
    high: float
    chance: float


class Estimate(NamedTuple):
    """An estimated number, and its interval."""

    value: float
    low: float
    high: float


class CurvePoint(NamedTuple):
    """The expected value of a new training at `kimg`, and its interval."""

    kimg: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Ranking:
    """Gaussian processes that are fitted to all `trials` of a search, and their predictions.

    `space` has the search's parameters. `total_kimg` is the length of the longest training. Each of
    the `posteriors` is a process with other likely hyperparameters; a prediction is the mixture of
    theirs. `scale` converts their values to those of the metric. Trials that are infeasible or have
    no value are not ranked.
    """

    space: SearchSpace
    trials: Sequence[Trial]
    total_kimg: float
    posteriors: Sequence[Posterior]
    scale: Scale

    def expectations(self) -> list[Expectation | None]:
        """Return the expectation of each trial's configuration; None if it is not ranked.

        Trials that differ only in the seed have the same expectation. If the lengths of trainings
        differ (`train.total_kimg` is searched), a value is for the end of the trial's own training.
        Equal arguments give equal results.
        """
        indices = [index for index, trial in enumerate(self.trials) if is_ranked(trial)]
        times = end_times([self.trials[index].point for index in indices], self.total_kimg)
        columns = self._columns(indices)
        _, first, place = np.unique(
            np.column_stack([*columns, times]), axis=0, return_index=True, return_inverse=True
        )
        distinct = [part[first] for part in columns]
        parts = [posterior.expected(distinct, times[first]) for posterior in self.posteriors]
        chances = _chances(parts)
        mean, low, high = (self.scale.metric(part) for part in _summary(parts))
        table = np.column_stack([mean, low, high, chances])[place.reshape(-1)].tolist()
        by_index = dict(zip(indices, table, strict=True))
        return [
            Expectation(*by_index[index]) if index in by_index else None
            for index in range(len(self.trials))
        ]

    def curve(self, index: int) -> list[CurvePoint]:
        """Return the expected learning curve of a new training of a trial's configuration.

        `index` is the index of the trial in `trials`. The curve goes from the first evaluation of
        any trial to the end of this trial's own training.
        """
        first = min(kimg for trial in self.trials for kimg in trial.values)
        kimgs = np.geomspace(first, self._length(index), CURVE_POINTS)
        columns = self._columns([index] * CURVE_POINTS)
        times = np.log(kimgs / self.total_kimg)
        parts = [posterior.expected(columns, times) for posterior in self.posteriors]
        values = [self.scale.metric(part) for part in _summary(parts)]
        return [CurvePoint(*map(float, row)) for row in zip(kimgs, *values, strict=True)]

    def correlations(self) -> dict[float, float]:
        """Return {kimg: correlation} of all evaluations: how much early values tell.

        It is the correlation, over trials, between the value at these kimg and the value at the end
        of the training.
        """
        return {
            kimg: float(
                np.mean(
                    [
                        correlation_with_end(posterior.hyper, kimg / self.total_kimg)
                        for posterior in self.posteriors
                    ]
                )
            )
            for kimg in sorted({kimg for trial in self.trials for kimg in trial.values})
        }

    def importances(self) -> dict[str, Estimate]:
        """Return the importance of each parameter: its share of the variance, the largest first.

        The variance of a parameter is that of its own effect over the points of all trials; effects
        of several parameters together are ignored. The shares add up to 1. The interval comes from
        the draws of the hyperparameters, so with more than `MANY_TRIALS` trials it has no width.
        """
        points = self.posteriors[0].points
        squared = squared_distances(points, points)
        shares = []
        for posterior in self.posteriors:
            hyper = posterior.hyper
            variances = hyper.relevances() ** 2 * (1 - matern(hyper, squared).mean(axis=(1, 2)))
            shares.append(variances / max(float(variances.sum()), TINY))
        mean = np.mean(shares, axis=0)
        low, high = np.quantile(shares, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2], axis=0)
        names = [parameter.name for parameter in encoded_parameters(self.space)]
        return {
            names[index]: Estimate(float(mean[index]), float(low[index]), float(high[index]))
            for index in np.argsort(-mean)
            if names
        }

    def _columns(self, indices: Sequence[int]) -> list[Array]:
        return encode(self.space, [self.trials[index].point for index in indices])

    def _length(self, index: int) -> float:
        return float(self.trials[index].point.get(LENGTH, self.total_kimg))


def rank(space: SearchSpace, trials: Sequence[Trial], total_kimg: float) -> Ranking | None:
    """Fit Gaussian processes to `trials`; None if fewer than `MIN_TRIALS` trials can be ranked.

    `total_kimg` is the length of the longest training. If there are more than `MANY_TRIALS` trials,
    the hyperparameters are fitted to some of them, evenly spaced.
    """
    if sum(is_ranked(trial) for trial in trials) < MIN_TRIALS:
        return None
    points = encode(space, [trial.point for trial in trials])
    rows = rows_of(trials, total_kimg, MAX_ROWS)
    step = math.ceil(len(trials) / MANY_TRIALS)
    kept = rows.trial % step == 0
    some_rows = Rows(
        rows.trial[kept] // step, rows.time[kept], rows.value[kept], rows.variance[kept]
    )
    some_points, hyper_prior = [part[::step] for part in points], prior(len(points))
    hyper = [fit(some_points, some_rows, hyper_prior)]
    if step == 1:
        hyper = hyperparameter_draws(points, rows, hyper_prior, hyper[0], POSTERIORS)
    posteriors = [Posterior(draw, points, rows) for draw in hyper]
    return Ranking(space, trials, total_kimg, posteriors, scale_of(trials))


def is_ranked(trial: Trial) -> bool:
    """Return whether a trial's configuration is ranked: it has a value and is feasible."""
    return bool(trial.values) and not trial.is_infeasible


def _summary(parts: Sequence[Normal]) -> tuple[Array, Array, Array]:
    """Return the mean of a mixture of normal distributions, and the two ends of its interval."""
    means = np.array([mean for mean, _ in parts])
    variances = np.array([np.diag(covariance) for _, covariance in parts])
    mean = means.mean(axis=0)
    variance = np.maximum(variances.mean(axis=0), 0) + means.var(axis=0)
    width = norm.ppf(0.5 + CONFIDENCE / 2) * np.sqrt(variance)
    return mean, mean - width, mean + width


def _chances(parts: Sequence[Normal]) -> Array:
    """Return the probability that each value of a mixture is the smallest, from seeded draws."""
    rng, count = np.random.default_rng(0), DRAWS // len(parts)
    best = np.zeros(len(parts[0][0]))
    for mean, covariance in parts:
        values, vectors = np.linalg.eigh(covariance)  # rounding can make a value negative
        root = vectors * np.sqrt(np.maximum(values, 0))
        draws = mean + rng.normal(size=(count, len(mean))) @ root.T
        best += np.bincount(draws.argmin(axis=1), minlength=len(mean))
    return best / (count * len(parts))
