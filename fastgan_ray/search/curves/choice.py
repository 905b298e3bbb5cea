"""Choose the next point of a search by the Gaussian process of learning curves."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgan_ray.search.curves.acquisition import Actions, knowledge_gradient
from fastgan_ray.search.curves.features import Knowledge, encode, encoded_parameters
from fastgan_ray.search.curves.kernel import Array, Hyperparameters
from fastgan_ray.search.curves.posterior import Posterior, fit, informed, prior
from fastgan_ray.search.curves.trials import Trial, end_times, rows_of, with_expected
from fastgan_ray.search.space import Parameter, SearchSpace, assign, sample

Point = dict[str, Any]

POOL = 2000  # random points of a search
RANDOM_CANDIDATES = 1000  # points of the pool that are candidates for a suggestion
FIRST_CANDIDATES = 200  # points of the pool that are candidates before any trial has a value
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
    comes from other data sets: further features of the points, priors of the hyperparameters, and
    likely effects. The process describes the values minus the likely effects of their points.
    """
    points = encode(space, [trial.point for trial in trials], knowledge)
    rows = rows_of(trials, total_kimg)
    beliefs = prior(len(points), knowledge is not None)
    if knowledge is not None:
        names = [parameter.name for parameter in encoded_parameters(space)]
        beliefs = informed(beliefs, names, knowledge.hyperparameters)
        effects = knowledge.likely_effects([trial.point for trial in trials])
        shift = effects[rows.trial] * knowledge.kept(rows.time)
        rows = replace(rows, value=rows.value - shift)
    return Posterior(fit(points, rows, beliefs, start), points, rows)


@dataclass(frozen=True)
class Pool:
    """Random points of a space, their arrays as `encode` returns them, and their likely effects.

    The effects are those at the end of each point's own training. `total_kimg` is the length of the
    longest training. A search computes the arrays once, because with `knowledge` this takes a
    while.
    """

    points: Sequence[Point]
    columns: Sequence[Array]
    effects: Array
    total_kimg: float

    @cached_property
    def keys(self) -> list[str]:
        """The keys of the points (see `_key`)."""
        return [_key(point) for point in self.points]

    @cached_property
    def ends(self) -> Array:
        """The log-times (see `kernel`) at which the trainings of the points end."""
        return end_times(self.points, self.total_kimg)


def random_pool(
    space: SearchSpace, seed: int, total_kimg: float, knowledge: Knowledge | None = None
) -> Pool:
    """Return up to `POOL` different random points of a space; equal seeds give equal points.

    `total_kimg` is the length of the longest training.
    """
    rng = random.Random(seed)
    drawn = (sample(space, rng) for _ in range(POOL))
    different = {_key(point): point for point in drawn}
    return pool_of(space, list(different.values()), total_kimg, knowledge)


def pool_of(
    space: SearchSpace,
    points: Sequence[Point],
    total_kimg: float,
    knowledge: Knowledge | None = None,
) -> Pool:
    """Return a pool of these points."""
    effects = _likely_effects(points, total_kimg, knowledge)
    return Pool(points, encode(space, points, knowledge), effects, total_kimg)


def likely_point(
    pool: Pool, suggested: Sequence[Mapping[str, Any]], rng: random.Random
) -> Point | None:
    """Return a new point that probably is good, before any trial has a value.

    It is the point with the best likely effect among `FIRST_CANDIDATES` random points of `pool`
    that are not in `suggested`; so several such points differ. Return None if the likely effects of
    all points are 0.
    """
    known = {_key(point) for point in suggested}
    new = [index for index, key in enumerate(pool.keys) if key not in known]
    if not new or not pool.effects.any():
        return None
    drawn = rng.sample(new, min(FIRST_CANDIDATES, len(new)))
    return pool.points[min(drawn, key=lambda index: pool.effects[index])]


class Candidate(NamedTuple):
    """A point, and how much a complete training of it is expected to improve the search's result.

    `gain` is on the scale of the process (see `Scale`): 0.01 is 1 % of a value far from 0. It is
    infinite if no trial has a value.
    """

    point: Point
    gain: float


def best_candidate(
    space: SearchSpace,
    trials: Sequence[Trial],
    posterior: Posterior,
    pool: Pool,
    rng: random.Random,
    knowledge: Knowledge | None = None,
    suggested: Sequence[Mapping[str, Any]] = (),
) -> Candidate:
    """Return the new point whose complete training has the largest knowledge gradient.

    Candidates are some points of `pool` and changed copies of the best tried points. A running
    trial is treated as if it had ended with its expected value. If all trials are infeasible,
    return the candidate with the best expected value, far from them. `posterior` is the result of
    `fitted` for the same `trials` and `knowledge`. `suggested` has further points that are not new,
    such as those of failed trials.
    """
    posterior = with_running(posterior, trials, pool.total_kimg)
    known_keys = {_key(point) for point in (*(trial.point for trial in trials), *suggested)}
    drawn = _best_of(pool, posterior, known_keys, rng)
    feasible = [index for index, trial in enumerate(trials) if not trial.is_infeasible]
    if not feasible:
        return Candidate(drawn.points[0], math.inf)
    points = [dict(trials[index].point) for index in feasible]
    columns = [part[feasible] for part in posterior.points]
    effects = _likely_effects(points, pool.total_kimg, knowledge)
    known = Pool(points, columns, effects, pool.total_kimg)
    copies = [
        copy for copy in _copies(space, known, posterior, rng) if _key(copy) not in known_keys
    ]
    candidates = drawn
    if copies:
        candidates = _joined(drawn, pool_of(space, copies, pool.total_kimg, knowledge))
    count, everything = len(candidates.points), _joined(known, candidates)
    actions = Actions(len(points) + np.arange(count), np.full(count, -1), candidates.ends)
    gains = knowledge_gradient(
        posterior,
        everything.columns,
        everything.ends,
        len(points),
        actions,
        0.0,
        everything.effects,
    )
    best = int(np.argmax(gains))
    return Candidate(candidates.points[best], float(gains[best]))


def _best_of(pool: Pool, posterior: Posterior, known: Set[str], rng: random.Random) -> Pool:
    """Return new points of the pool with good expected values, the best first.

    `known` has the keys of the points that are not new. If no point is new, return known points.
    """
    count = min(RANDOM_CANDIDATES, len(pool.points))
    drawn = np.array(rng.sample(range(len(pool.points)), count))
    order = drawn[np.argsort(_means(posterior, _part(pool, drawn)))]
    new = [index for index in order if pool.keys[index] not in known]
    return _part(pool, np.array(new or order, dtype=int)[:KEPT_CANDIDATES])


def _copies(
    space: SearchSpace, known: Pool, posterior: Posterior, rng: random.Random
) -> list[Point]:
    """Return changed copies of the known points with the best expected values."""
    best_first = np.argsort(_means(posterior, known))[:BEST_POINTS]
    return [changed(space, known.points[i], rng) for i in best_first for _ in range(CHANGES)]


def _means(posterior: Posterior, pool: Pool) -> Array:
    """Return the expected final values of the points of a pool."""
    return np.asarray(posterior.means(pool.columns, pool.ends) + pool.effects)


def _part(pool: Pool, indices: NDArray[np.int64]) -> Pool:
    points = [pool.points[index] for index in indices]
    columns = [part[indices] for part in pool.columns]
    return Pool(points, columns, pool.effects[indices], pool.total_kimg)


def _joined(first: Pool, second: Pool) -> Pool:
    columns = [np.concatenate(pair) for pair in zip(first.columns, second.columns, strict=True)]
    effects = np.concatenate([first.effects, second.effects])
    return Pool([*first.points, *second.points], columns, effects, first.total_kimg)


def _likely_effects(
    points: Sequence[Mapping[str, Any]], total_kimg: float, knowledge: Knowledge | None
) -> Array:
    """Return the likely effects at the ends of the points' own trainings, as in `fitted`."""
    if knowledge is None or not points:
        return np.zeros(len(points))
    return knowledge.likely_effects(points) * knowledge.kept(end_times(points, total_kimg))


def _key(point: Mapping[str, Any]) -> str:
    """Return a text that is equal for equal points."""
    return repr(sorted(point.items()))


def with_running(posterior: Posterior, trials: Sequence[Trial], total_kimg: float) -> Posterior:
    """Return the posterior if each running trial ended with its expected value."""
    running = np.array([i for i, trial in enumerate(trials) if trial.is_running], dtype=int)
    if not len(running):
        return posterior
    points = [columns[running] for columns in posterior.points]
    ends = end_times([trials[index].point for index in running], total_kimg)
    expected = posterior.mean + posterior.cross(points, ends, running) @ posterior.solved
    rows = with_expected(posterior.rows, running, ends, expected)
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
