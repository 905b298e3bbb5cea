"""What a further evaluation is worth: the knowledge gradient (Frazier et al. 2009).

An action trains a new point, or continues a trial, until a log-time. Its observation changes what
is expected of all points. The value of the action is by how much the best expected value at the
end improves on average, if the search then ended and chose the point with the best expected value.
Unlike expected improvement, it knows that observations have noise, that early values say only
part, and that a repetition of the best point is worth something.
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
    """Actions, as arrays (actions,).

    `point` is an index of the candidates, `trial` the index of the trial that continues (-1 for a
    new trial), `time` the log-time until which it trains.
    """

    point: NDArray[np.int64]
    trial: NDArray[np.int64]
    time: Array


def knowledge_gradient(
    posterior: Posterior,
    candidates: Sequence[Array],
    tried: int,
    actions: Actions,
    variance: float,
) -> Array:
    """Return the value of each action, in units of the values.

    The first `tried` of the `candidates` (encoded points) have been trained, so the search could
    choose them now. `variance` is that of an evaluation. An action on an untried candidate makes it
    a possible choice.
    """
    hyper = posterior.hyper
    count = len(candidates[0])
    ends = posterior.cross(candidates, np.zeros(count), np.full(count, -1))
    white_ends = posterior.whitened(ends)
    means = posterior.mean + ends @ posterior.solved
    acted = [columns[actions.point] for columns in candidates]
    cross = posterior.cross(acted, actions.time, actions.trial)
    white = posterior.whitened(cross)
    zero = np.zeros((1, 1))
    own = mean_covariance(hyper, zero) + point_variance(hyper) + luck_covariance(hyper, zero)
    spread = own[0, 0] + hyper.nugget**2 + variance - (white**2).sum(axis=0)
    gaps = np.abs(actions.time)[None]
    effects = point_kernel(hyper, squared_distances(candidates, candidates)).value[:, actions.point]
    prior = mean_covariance(hyper, gaps) + effects * effect_correlation(hyper, gaps)
    moves = (prior - white_ends.T @ white) / np.sqrt(np.maximum(spread, 1e-12))
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    index = np.arange(len(actions.point))
    new = actions.point >= tried
    expected = np.zeros(len(index))
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        best = (means[:tried, None] + node * moves[:tried]).min(axis=0)
        itself = means[actions.point] + node * moves[actions.point, index]
        expected += weight * np.where(new, np.minimum(best, itself), best)
    return float(means[:tried].min()) - expected
