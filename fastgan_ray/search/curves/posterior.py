"""Fit the Gaussian process of `kernel` to the evaluations of a search, and predict with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from fastgan_ray.search.curves.kernel import (
    SHARED,
    Array,
    Hyperparameters,
    effect_correlation,
    gradient,
    luck_covariance,
    mean_covariance,
    point_kernel,
    squared_distances,
)

JITTER = 1e-9
ITERATIONS, FURTHER_ITERATIONS = 25, 8  # of `fit`
STEP = 1e-3  # of the finite differences in `hyperparameter_draws`


@dataclass(frozen=True)
class Rows:
    """Evaluations of trials; each field is an array with one entry per evaluation (row).

    `trial` has the index of the trial, and `time` the log-time. `value` has the scaled value of the
    metric (see `rows_of`; lower is better). `variance` has the known variance of the value's error.
    """

    trial: NDArray[np.int64]
    time: Array
    value: Array
    variance: Array


@dataclass(frozen=True)
class Prior:
    """The prior of the hyperparameters: each logarithm has a normal distribution.

    `means` and `deviations` have the mean and the standard deviation of each logarithm.
    """

    means: Array
    deviations: Array


# The mean and the standard deviation of the logarithm of each hyperparameter. `prior` divides the
# median of `relevance` by the square root of the number of parameters.
PRIOR = {
    "relevance": (math.log(0.1), 1.0),
    "knowledge": (math.log(0.2), 1.0),  # relevance of the effects on other data sets
    "pair": (math.log(0.7), 1.0),
    "rest": (math.log(0.05), 0.7),
    "length": (math.log(0.6), 0.3),
    "effect_change": (math.log(1.0), 1.0),
    "effect_time": (math.log(0.8), 0.5),
    "mean": (math.log(1.0), 0.3),
    "mean_change": (math.log(0.2), 0.7),
    "mean_time": (math.log(1.0), 0.4),
    "luck": (math.log(0.03), 0.5),
    "luck_change": (math.log(0.04), 0.5),
    "luck_time": (math.log(0.8), 0.6),
    "nugget": (math.log(0.01), 0.7),
}


# Factor for the standard deviation of a prior whose mean comes from other data sets.
SHARPER = 0.7


def prior(arrays: int, has_knowledge: bool = False) -> Prior:
    """Return the prior of the hyperparameters.

    `arrays` is the number of arrays that `encode` returns for the points. With `has_knowledge`, the
    last array has the effects on other data sets.
    """
    parameters = arrays - has_knowledge
    names = ["relevance"] * parameters + ["knowledge"] * has_knowledge + list(SHARED)
    means = np.array([PRIOR[name][0] for name in names])
    means[:parameters] -= 0.5 * math.log(parameters)
    return Prior(means, np.array([PRIOR[name][1] for name in names]))


def informed(
    prior: Prior, parameters: Sequence[str], known: Mapping[str, float], share: float = SHARPER
) -> Prior:
    """Return a prior around the hyperparameters that fit other data sets.

    `known` has these hyperparameters by name; a relevance has the name of its parameter.
    `parameters` has the names of the search's parameters, in the order of their relevances. For a
    known name, the mean of the prior is the logarithm of the known value, and the standard
    deviation is multiplied by `share`. Other names keep the prior.
    """
    names = [*parameters, *[""] * (len(prior.means) - len(parameters) - len(SHARED)), *SHARED]
    means, deviations = prior.means.copy(), prior.deviations.copy()
    for index, name in enumerate(names):
        if name in known:
            means[index] = math.log(known[name])
            deviations[index] *= share
    return Prior(means, deviations)


@dataclass(frozen=True)
class Posterior:
    """The Gaussian process with the hyperparameters `hyper`, given the evaluations `rows`.

    `points` are the points of the trials in `rows`.
    """

    hyper: Hyperparameters
    points: Sequence[Array]  # as `features.encode` returns them
    rows: Rows

    @cached_property
    def mean(self) -> float:
        """The mean of the rows' values; the process describes differences from this mean."""
        return float(self.rows.value.mean())

    @cached_property
    def root(self) -> Array:
        """The lower Cholesky factor of the covariance of the rows' values."""
        return _root(self.hyper, squared_distances(self.points, self.points), self.rows)

    @cached_property
    def solved(self) -> Array:
        """K^-1 (y - mean), where y has the rows' values and K is the covariance of y."""
        return np.asarray(cho_solve((self.root, True), self.rows.value - self.mean))

    def cross(self, points: Sequence[Array], time: Array, trial: NDArray[np.int64]) -> Array:
        """Return the prior covariance (n, rows) between n further values and the rows' values.

        Value number i belongs to point i of `points`, to the log-time `time[i]`, and to the trial
        with the index `trial[i]`. If `trial[i]` is -1, the value is the mean over all possible
        trainings of the point, without the luck of a trial.
        """
        squared = squared_distances(points, self.points)
        gaps = np.abs(time[:, None] - self.rows.time[None])
        effect = point_kernel(self.hyper, squared).value[:, self.rows.trial]
        result = mean_covariance(self.hyper, gaps)
        result += effect * effect_correlation(self.hyper, gaps)
        own = trial[:, None] == self.rows.trial[None]
        return np.asarray(result + own * luck_covariance(self.hyper, gaps))

    def whitened(self, cross: Array) -> Array:
        """Return W = root^-1 cross^T (rows, n), where `cross` is a result of the method `cross`.

        The posterior covariance of the n values is their prior covariance minus W^T W.
        """
        return np.asarray(solve_triangular(self.root, cross.T, lower=True))

    def means(self, points: Sequence[Array], time: Array) -> Array:
        """Return the means (n,) of `expected`, without the covariance, which is much faster."""
        cross = self.cross(points, time, np.full(len(time), -1))
        return np.asarray(self.mean + cross @ self.solved)

    def expected(self, points: Sequence[Array], time: Array) -> tuple[Array, Array]:
        """Return the posterior mean (n,) and covariance (n, n) of values at the log-times `time`.

        There is one value for each of the n `points`: the mean over all possible trainings.
        """
        cross = self.cross(points, time, np.full(len(time), -1))
        white = self.whitened(cross)
        gaps = np.abs(time[:, None] - time[None])
        effects = point_kernel(self.hyper, squared_distances(points, points)).value
        prior = effects * effect_correlation(self.hyper, gaps) + mean_covariance(self.hyper, gaps)
        return np.asarray(self.mean + cross @ self.solved), prior - white.T @ white


def _root(hyper: Hyperparameters, squared: Array, rows: Rows) -> Array:
    gaps = np.abs(rows.time[:, None] - rows.time[None])
    effect = point_kernel(hyper, squared).value[np.ix_(rows.trial, rows.trial)]
    covariance = mean_covariance(hyper, gaps) + effect * effect_correlation(hyper, gaps)
    covariance += (rows.trial[:, None] == rows.trial[None]) * luck_covariance(hyper, gaps)
    covariance[np.diag_indices_from(covariance)] += rows.variance + hyper.nugget**2 + JITTER
    return np.asarray(cholesky(covariance, lower=True))


def loss(logs: Array, prior: Prior, squared: Array, rows: Rows) -> tuple[float, Array]:
    """Return the negative log posterior density of the hyperparameters, and its gradient.

    `logs` has the logarithms of the hyperparameters. The log density lacks a constant term.
    `squared` has the squared distances between the points of the trials.
    """
    hyper = Hyperparameters(logs)
    root = _root(hyper, squared, rows)
    differences = rows.value - rows.value.mean()
    solved = cho_solve((root, True), differences)
    inverse = cho_solve((root, True), np.eye(len(differences)))
    weights = 0.5 * (inverse - np.outer(solved, solved))
    scaled = (logs - prior.means) / prior.deviations
    value = 0.5 * differences @ solved + np.log(np.diag(root)).sum() + 0.5 * scaled @ scaled
    slope = gradient(hyper, weights, squared, rows.trial, rows.time) + scaled / prior.deviations
    return float(value), slope


def fit(
    points: Sequence[Array],
    rows: Rows,
    prior: Prior,
    start: Hyperparameters | None = None,
    iterations: int = ITERATIONS,
) -> Hyperparameters:
    """Search for the hyperparameters with the highest posterior density.

    The search begins at the means of `prior` and takes at most `iterations` steps. With `start`, it
    begins there, and takes at most `FURTHER_ITERATIONS` steps: `start` is the result for almost the
    same rows. A `start` with other hyperparameters is ignored: with knowledge of other data sets,
    which a search may get or lose when it continues, there is one more.
    """
    squared = squared_distances(points, points)
    if start is not None and len(start.logs) != len(prior.means):
        start = None
    first = prior.means if start is None else start.logs
    result = minimize(
        loss,
        first,
        args=(prior, squared, rows),
        jac=True,
        method="L-BFGS-B",
        bounds=[
            (mean - 4 * deviation, mean + 4 * deviation)
            for mean, deviation in zip(prior.means, prior.deviations, strict=True)
        ],
        options={"maxiter": iterations if start is None else FURTHER_ITERATIONS},
    )
    return Hyperparameters(np.asarray(result.x))


def hyperparameter_draws(
    points: Sequence[Array], rows: Rows, prior: Prior, mode: Hyperparameters, count: int
) -> list[Hyperparameters]:
    """Draw `count` sets of hyperparameters from their posterior; equal calls draw the same.

    The posterior of the logarithms is approximated by a normal distribution around `mode`, the
    result of `fit` (Laplace's approximation). Its standard deviation is in no direction larger than
    the largest of the prior. Predictions with `mode` alone are too certain, because a search has
    few evaluations and many hyperparameters.
    """
    squared = squared_distances(points, points)
    slopes = [
        loss(mode.logs + step, prior, squared, rows)[1]
        - loss(mode.logs - step, prior, squared, rows)[1]
        for step in STEP * np.eye(len(mode.logs))
    ]
    curvature = np.array(slopes) / (2 * STEP)
    values, vectors = np.linalg.eigh((curvature + curvature.T) / 2)
    deviations = 1 / np.sqrt(np.maximum(values, prior.deviations.max() ** -2))
    normal = np.random.default_rng(0).normal(size=(count, len(values)))
    return [Hyperparameters(mode.logs + vectors @ (deviations * draw)) for draw in normal]
