"""The covariance of learning curves, and its gradient with respect to the hyperparameters.

The value of a trial with point x at log-time t = log(kimg / total kimg) is the sum of four parts:

- m(t), the mean curve of all points: a constant plus a smooth function of t.
- f(x, t), the effect of the point. It changes with t, so an early value predicts later values
  only partly.
- l(t), the luck of the trial: the difference between trainings of the same point.
- The error of the evaluation. Its variance is a known number plus an unknown constant (nugget).

Each part is a Gaussian process. The covariance of f over points is a sum over parameters, over
pairs of parameters, and over all of them together (Duvenaud et al. 2011, "Additive Gaussian
Processes"):

    sum_p z_p + pair^2 * sum_{p<q} z_p z_q / sum_p relevance_p^2 + rest^2 * prod_p c_p,

where c_p is the Matern-5/2 kernel of the distance in parameter p, and z_p = relevance_p^2 c_p. A
search has few trials. With a sum, all trials help to learn the effect of a single parameter. The
product describes effects of more than two parameters together; without it, the process attributes
them to luck. Over time, one part of f is constant and one part changes smoothly (a
squared-exponential kernel of log-time).
On recorded trainings, this kernel has a higher likelihood than a Matern or an exponential kernel
(docs/findings.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The hyperparameters after the relevances of the parameters; all are positive.
SHARED = (
    "pair",  # strength of pairs of parameters, relative to single parameters
    "rest",  # standard deviation of a point's effect beyond single parameters and pairs
    "length",  # distance (of 1 = the whole range) at which points become dissimilar
    "effect_change",  # changing part of the effect of a point, relative to the constant part
    "effect_time",  # log-time over which the changing part changes
    "mean",  # standard deviation of the mean curve's constant
    "mean_change",  # standard deviation of the mean curve's smooth function
    "mean_time",  # log-time over which the mean curve changes
    "luck",  # standard deviation of the constant part of a trial's luck
    "luck_change",  # standard deviation of the part of a trial's luck that changes
    "luck_time",  # log-time over which the changing part of a trial's luck changes
    "nugget",  # standard deviation of an evaluation's error, beyond its known variance
)


class Hyperparameters(NamedTuple):
    """The hyperparameters; each name in `SHARED` is an attribute, such as `hyper.length`.

    `logs` has the logarithms: first those of the relevances, then those of the names in `SHARED`.
    """

    logs: Array

    def relevances(self) -> Array:
        """Return the relevance of each parameter: the standard deviation of its effect."""
        return np.exp(self.logs[: -len(SHARED)])

    def __getattr__(self, name: str) -> float:
        if name not in SHARED:
            raise AttributeError(f"{name} is not one of the hyperparameters {', '.join(SHARED)}")
        return float(np.exp(self.logs[len(self.logs) - len(SHARED) + SHARED.index(name)]))


def squared_distances(first: Sequence[Array], second: Sequence[Array]) -> Array:
    """Return the squared distances between two lists of points, separately for each parameter.

    `first` and `second` are results of `encode`. The shape of the result is (parameters, number of
    points in `first`, number of points in `second`).
    """
    return np.array(
        [((a[:, None] - b[None]) ** 2).sum(axis=-1) for a, b in zip(first, second, strict=True)]
    )


class PointKernel(NamedTuple):
    """The covariance of the effects of points (`value`), and the terms that its gradient needs."""

    value: Array  # (points, points)
    parts: Array  # z_p, (parameters, points, points)
    total: Array  # sum of the parts
    pairs: Array  # sum_{p<q} z_p z_q / sum relevance^2
    product: Array  # prod_p c_p


def matern(hyper: Hyperparameters, squared: Array) -> Array:
    """Return c_p, the Matern-5/2 kernel of the squared distances in each parameter."""
    scaled = np.sqrt(5 * squared) / hyper.length
    return np.asarray((1 + scaled + scaled**2 / 3) * np.exp(-scaled))


def point_kernel(hyper: Hyperparameters, squared: Array) -> PointKernel:
    """Return the covariance of the effects of points; `squared` has their squared distances."""
    relevance = hyper.relevances()
    correlations = matern(hyper, squared)
    parts = relevance[:, None, None] ** 2 * correlations
    total, product = parts.sum(axis=0), correlations.prod(axis=0)
    pairs = (total**2 - (parts**2).sum(axis=0)) / (2 * (relevance**2).sum())
    value = total + hyper.pair**2 * pairs + hyper.rest**2 * product
    return PointKernel(value, parts, total, pairs, product)


def point_variance(hyper: Hyperparameters) -> float:
    """Return the variance of the effect of any point."""
    squares = hyper.relevances() ** 2
    total = squares.sum()
    pairs = (total**2 - (squares**2).sum()) / (2 * total)
    return float(total + hyper.pair**2 * pairs + hyper.rest**2)


def effect_correlation(hyper: Hyperparameters, gaps: Array) -> Array:
    """Return the correlation between a point's effects at two log-times.

    `gaps` has the absolute differences between the two log-times.
    """
    ratio = hyper.effect_change**2
    return np.asarray((1 + ratio * _smooth(hyper.effect_time, gaps)) / (1 + ratio))


def _smooth(time: float, gaps: Array) -> Array:
    return np.asarray(np.exp(-0.5 * (gaps / time) ** 2))


def _exponential(time: float, gaps: Array) -> Array:
    return np.asarray(np.exp(-gaps / time))


def mean_covariance(hyper: Hyperparameters, gaps: Array) -> Array:
    """Return the covariance of the mean curve's values at two log-times that differ by `gaps`."""
    return hyper.mean**2 + hyper.mean_change**2 * _smooth(hyper.mean_time, gaps)


def luck_covariance(hyper: Hyperparameters, gaps: Array) -> Array:
    """Return the covariance of one trial's luck at two log-times that differ by `gaps`."""
    return hyper.luck**2 + hyper.luck_change**2 * _exponential(hyper.luck_time, gaps)


def correlation_with_end(hyper: Hyperparameters, share: float) -> float:
    """Return the correlation, over trials, between an early evaluation and the one at the end.

    The early evaluation is after the fraction `share` of a training (0 < share <= 1).
    """
    gap, zero = np.array([-np.log(share)]), np.zeros(1)
    effect, luck = point_variance(hyper), luck_covariance(hyper, zero)
    common = effect * effect_correlation(hyper, gap) + luck_covariance(hyper, gap)
    return float((common / (effect + luck + hyper.nugget**2))[0])


def gradient(
    hyper: Hyperparameters, weights: Array, squared: Array, trial: NDArray[np.int64], time: Array
) -> Array:
    """Return the gradient of sum(weights * covariance) with respect to the logs of `hyper`.

    A row is an evaluation. `covariance` (rows, rows) is the covariance of the rows' values, and
    `weights` has the same shape. `squared` has the squared distances between the points of the
    trials. `trial` has the index of each row's trial, and `time` has each row's log-time.
    """
    gaps = np.abs(time[:, None] - time[None])
    points = point_kernel(hyper, squared)
    relevance = hyper.relevances()
    by_effect = effect_correlation(hyper, gaps)
    count = squared.shape[1]
    member = np.zeros((count, len(trial)))
    member[trial, np.arange(len(trial))] = 1
    on_points = member @ (weights * by_effect) @ member.T  # (trials, trials)
    pair, total = hyper.pair**2, (relevance**2).sum()
    by_part = 1 + pair * (points.total[None] - points.parts) / total  # d value / d z_p
    weighted = on_points[None] * by_part
    relevances = 2 * (weighted * points.parts).sum(axis=(1, 2)) - (
        2 * relevance**2 * pair / total * (on_points * points.pairs).sum()
    )
    scaled = np.sqrt(5 * squared) / hyper.length
    by_length = relevance[:, None, None] ** 2 * scaled**2 / 3 * (1 + scaled) * np.exp(-scaled)
    # d log c_p / d log length; c_p is never 0, but its factor exp(-scaled) may be tiny
    product_by_length = (scaled**2 / 3 * (1 + scaled) / (1 + scaled + scaled**2 / 3)).sum(axis=0)
    rest = hyper.rest**2 * on_points * points.product
    on_effect = weights * points.value[np.ix_(trial, trial)]
    change_of_effect, ratio = _smooth(hyper.effect_time, gaps), hyper.effect_change**2
    smooth = _smooth(hyper.mean_time, gaps)
    own = weights * (trial[:, None] == trial[None])
    change = _exponential(hyper.luck_time, gaps)
    shared = {
        "pair": 2 * pair * (on_points * points.pairs).sum(),
        "rest": 2 * rest.sum(),
        "length": (weighted * by_length).sum() + (rest * product_by_length).sum(),
        "effect_change": 2 * ratio * (on_effect * (change_of_effect - 1)).sum() / (1 + ratio) ** 2,
        "effect_time": ratio
        * (on_effect * change_of_effect * (gaps / hyper.effect_time) ** 2).sum()
        / (1 + ratio),
        "mean": 2 * hyper.mean**2 * weights.sum(),
        "mean_change": 2 * hyper.mean_change**2 * (weights * smooth).sum(),
        "mean_time": hyper.mean_change**2
        * (weights * smooth * (gaps / hyper.mean_time) ** 2).sum(),
        "luck": 2 * hyper.luck**2 * own.sum(),
        "luck_change": 2 * hyper.luck_change**2 * (own * change).sum(),
        "luck_time": hyper.luck_change**2 * (own * change * gaps).sum() / hyper.luck_time,
        "nugget": 2 * hyper.nugget**2 * np.trace(weights),
    }
    return np.concatenate([relevances, [shared[name] for name in SHARED]])
