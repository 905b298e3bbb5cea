"""Choose points without an Optuna sampler: the published default, a grid, random, Sobol.

A point has the parameter values of one trial.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastgan_ray.search.file.spec import SearchSpec, start_point
from fastgan_ray.search.space import assign, grid, sample, size, sobol

Point = dict[str, Any]  # {flat dotted name: value}; some parameters may be missing

# After this many attempts, points are random, because a sampler may repeat tried points forever.
SAMPLER_ATTEMPTS = 10
ENUMERABLE = 100_000  # the size of the largest space whose points are listed


@dataclass
class PointState:
    """The state for PointRules. This state and the Optuna study determine the next point to try.

    A point has the parameter values of one trial.
    """

    rng: random.Random
    tried: set[str] = field(default_factory=set)  # `key_of` of each tried point
    waiting: list[Point] = field(default_factory=list)  # another search's best points, to try next


class PointRules:
    """Chooses points (the parameter values of trials) without an Optuna sampler.

    For example, the points come from a grid or are random.
    """

    def __init__(self, spec: SearchSpec) -> None:
        self._spec = spec
        self._start = start_point(spec)
        self._size = size(spec.space)
        self._grid = grid(spec.space) if spec.method == "grid" else None

    def all_tried(self, state: PointState) -> bool:
        """Return whether all points of the search space have been tried."""
        return len(state.tried) == self._size

    def next_point(
        self, state: PointState, attempt: int, count_points: Callable[[], int]
    ) -> Point | None:
        """Return the point (parameter values) to try next; None if the sampler must choose it.

        If the returned point lacks some parameters, the sampler chooses their values. `attempt` is
        the number of rejected points since the last accepted point; a point is rejected if it is
        not new or not valid. `count_points` returns the number of points in the study, in which
        the points of repeated trials count once.
        """
        spec = self._spec
        if self._grid is not None:
            untried = [point for point in self._grid if key_of(point) not in state.tried]
            return self._start if self._start in untried else untried[0]
        if not state.tried:
            return self._first_point(state.rng)
        if state.waiting:
            return state.waiting.pop(0)
        if self._mostly_tried(state):
            untried = [point for point in grid(spec.space) if key_of(point) not in state.tried]
            return state.rng.choice(untried)
        if spec.sampler == "qmc":
            return sobol(spec.space, count_points(), spec.seed)
        if spec.method == "random" or attempt >= SAMPLER_ATTEMPTS:
            return sample(spec.space, state.rng)
        return None

    def _first_point(self, rng: random.Random) -> Point:
        """Return the point of the published default.

        If the search space excludes a parameter's default value, the nearest number in the space
        is used. If there is no such number, the value is random; with the method "bayes", the
        parameter is left out, and the sampler chooses its value.
        """
        start = self._start
        if self._spec.method == "bayes":
            return start
        return assign(
            self._spec.space, lambda p: start[p.name] if p.name in start else p.sample(rng)
        )

    def _mostly_tried(self, state: PointState) -> bool:
        """Return whether at least half of all points of the search space have been tried.

        Then a random point is often not new. If the space has more than ENUMERABLE points, return
        False.
        """
        count = self._size
        return count is not None and count <= ENUMERABLE and count <= 2 * len(state.tried)


def key_of(point: Mapping[str, Any]) -> str:
    """Convert a point to a string; equal points have equal strings."""
    return json.dumps(point, sort_keys=True)
