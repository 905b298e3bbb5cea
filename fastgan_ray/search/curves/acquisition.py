"""Compute how much a further evaluation improves the result of a search: the knowledge gradient.

An action is a training of a new point, or the continuation of a trial, up to some log-time (see
`kernel`). Then the trial is evaluated. Each point has an expected final value, and the evaluation
changes these expected values. The result of a search is the point with the best expected final
value. The knowledge gradient of the action is the average improvement of this best value (Frazier
et al. 2009).

Expected improvement ignores three facts that the knowledge gradient uses. Evaluations have noise.
An early value determines the value at the end only partly. A second training of the best point can
improve the choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastgan_ray.search.curves.kernel import (
    Array,
    effect_correlation,
    luck_covariance,
    mean_covariance,
    point_kernel,
    point_variance,
    squared_distances,
)
from fastgan_ray.search.curves.posterior import Posterior

NODES = 12  # of the Gauss-Hermite quadrature


@dataclass(frozen=True)
class Actions:
    """Several actions; each field is an array with one entry per action.

    `point` has the index of the action's point in a list of candidates. `trial` has the index of
    the trial that continues, or -1 for a new trial. `time` has the log-time at which the training
    is evaluated.
    """

    point: NDArray[np.int64]
    trial: NDArray[np.int64]
    time: Array


def knowledge_gradient(
    posterior: Posterior,
    candidates: Sequence[Array],
    ends: Array,
    tried: int,
    actions: Actions,
    variance: float,
    effects: Array | None = None,
) -> Array:
    """Return the knowledge gradient of each action, in the unit of the values in `Rows`.

    `candidates` are points as `encode` returns them, and `ends` the log-times at which their
    trainings end. The first `tried` candidates have been trained. The result of a search must be a
    trained point: one of these candidates, or the point that the action trains. `variance` is the
    known variance of the error of an evaluation. `effects` has, for each candidate, what is added
    to the final value of the process.
    """
    hyper = posterior.hyper
    cross_ends = posterior.cross(candidates, ends, np.full(len(ends), -1))
    white_ends = posterior.whitened(cross_ends)
    means = posterior.mean + cross_ends @ posterior.solved + (0.0 if effects is None else effects)
    known = [columns[:tried] for columns in candidates]
    acted = [columns[actions.point] for columns in candidates]
    cross = posterior.cross(acted, actions.time, actions.trial)
    white = posterior.whitened(cross)
    zero = np.zeros((1, 1))
    own = mean_covariance(hyper, zero) + point_variance(hyper) + luck_covariance(hyper, zero)
    spread = own[0, 0] + hyper.nugget**2 + variance - (white**2).sum(axis=0)
    scale = np.sqrt(np.maximum(spread, 1e-12))
    gaps = np.abs(ends[:tried, None] - actions.time)  # (tried, actions)
    shared = point_kernel(hyper, squared_distances(known, acted)).value
    prior = mean_covariance(hyper, gaps) + shared * effect_correlation(hyper, gaps)
    moves = (prior - white_ends[:, :tried].T @ white) / scale
    own_gaps = np.abs(ends[actions.point] - actions.time)
    own_effect = point_variance(hyper) * effect_correlation(hyper, own_gaps)
    own_covariance = (white_ends[:, actions.point] * white).sum(axis=0)
    own_moves = (mean_covariance(hyper, own_gaps) + own_effect - own_covariance) / scale
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    new = actions.point >= tried
    expected = np.zeros(len(new))
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        best = (means[:tried, None] + node * moves).min(axis=0)
        itself = means[actions.point] + node * own_moves
        expected += weight * np.where(new, np.minimum(best, itself), best)
    return float(means[:tried].min()) - expected
