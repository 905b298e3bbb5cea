"""Choose the next point of a search by the Gaussian process of learning curves."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastgan_ray.search.curves.acquisition import Actions, knowledge_gradient
from fastgan_ray.search.curves.features import Knowledge, encode, encoded_parameters
from fastgan_ray.search.curves.kernel import Hyperparameters
from fastgan_ray.search.curves.posterior import Posterior, fit, informed, prior
from fastgan_ray.search.curves.trials import Trial, rows_of, with_expected
from fastgan_ray.search.space import Parameter, SearchSpace, assign, sample

Point = dict[str, Any]

RANDOM_CANDIDATES = 600
# The knowledge gradient is computed only for the random candidates with the best expected values.
KEPT_CANDIDATES = 150
BEST_POINTS = 3  # tried points with the best expected values; changed copies are candidates, too
CHANGES = 25  # changed copies of each of these points
STEP = 0.15  # standard deviation of a change, as a share of a parameter's range
CHANGED_NUMBERS = 0.5  # share of the numbers that change
CHANGED_CHOICES = 1.5  # listed parameters that change, on average


def fitted(
    space: SearchSpace,
    trials: Sequence[Trial],
    total_kimg: float,
    start: Hyperparameters | None = None,
    knowledge: Knowledge | None = None,
) -> Posterior:
    """Fit the Gaussian process to the evaluations of `trials`; at least one evaluation is needed.

    `start` has the hyperparameters of an earlier fit, which make the new fit faster. `knowledge`
    comes from other data sets: further features of the points, and priors of the hyperparameters.
    """
    points = encode(space, [trial.point for trial in trials], knowledge)
    rows = rows_of(trials, total_kimg)
    beliefs = prior(len(points), knowledge is not None)
    if knowledge is not None:
        names = [parameter.name for parameter in encoded_parameters(space)]
        beliefs = informed(beliefs, names, knowledge.hyperparameters)
    return Posterior(fit(points, rows, beliefs, start), points, rows)


def next_point(
    space: SearchSpace,
    trials: Sequence[Trial],
    posterior: Posterior,
    rng: random.Random,
    knowledge: Knowledge | None = None,
) -> Point:
    """Return the point whose complete training has the largest knowledge gradient.

    A running trial is treated as if it had ended with its expected value. If all trials are
    infeasible, return the random point with the best expected value, far from them. `posterior` is
    the result of `fitted` for the same `trials` and `knowledge`.
    """
    posterior = _with_running(posterior, trials)
    tried = [trial.point for trial in trials if not trial.is_infeasible]
    if not tried:
        candidates = [sample(space, rng) for _ in range(RANDOM_CANDIDATES)]
        return candidates[int(np.argmin(posterior.at_end(encode(space, candidates, knowledge))[0]))]
    best_first = np.argsort(posterior.means_at_end(encode(space, tried, knowledge)))
    drawn = [sample(space, rng) for _ in range(RANDOM_CANDIDATES)]
    means = posterior.means_at_end(encode(space, drawn, knowledge))
    candidates = [drawn[index] for index in np.argsort(means)[:KEPT_CANDIDATES]]
    for index in best_first[:BEST_POINTS]:
        candidates += [changed(space, tried[index], rng) for _ in range(CHANGES)]
    count = len(candidates)
    actions = Actions(len(tried) + np.arange(count), np.full(count, -1), np.zeros(count))
    encoded = encode(space, [*tried, *candidates], knowledge)
    gains = knowledge_gradient(posterior, encoded, len(tried), actions, 0.0)
    return candidates[int(np.argmax(gains))]


def _with_running(posterior: Posterior, trials: Sequence[Trial]) -> Posterior:
    running = np.array([i for i, trial in enumerate(trials) if trial.is_running], dtype=int)
    if not len(running):
        return posterior
    points = [columns[running] for columns in posterior.points]
    cross = posterior.cross(points, np.zeros(len(running)), running)
    expected = posterior.mean + cross @ posterior.solved
    rows = with_expected(posterior.rows, running, expected)
    return Posterior(posterior.hyper, posterior.points, rows)


def changed(space: SearchSpace, point: Mapping[str, Any], rng: random.Random) -> Point:
    """Return a point near `point`.

    Some numbers are shifted a little. If a parameter has listed values, a random value from its
    list may replace the old value.
    """
    share = CHANGED_CHOICES / len(space)

    def value(parameter: Parameter) -> Any:  # noqa: ANN401 - any setting
        if parameter.name not in point:
            return parameter.sample(rng)
        old = point[parameter.name]
        if parameter.values:
            return parameter.sample(rng) if rng.random() < share else old
        return _shifted(parameter, old, rng) if rng.random() < CHANGED_NUMBERS else old

    return assign(space, value)


def _shifted(parameter: Parameter, value: float, rng: random.Random) -> float:
    low, high = parameter.low, parameter.high
    if high <= low:
        return value
    if parameter.log:
        shift = rng.gauss(0, STEP) * math.log(high / low)
        return parameter.snap(min(max(value * math.exp(shift), low), high))
    return parameter.snap(min(max(value + rng.gauss(0, STEP) * (high - low), low), high))
