"""A search space: named parameters in order, each with a domain and an optional condition.

Pure: nothing here knows a sampler. `assign` walks the space and asks a caller's `suggest` for each
value, so that grid, random and Bayesian searches share one meaning of `when`.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fastgan_ray.config.strict_yaml import Value

Distribution = Literal[
    "constant",
    "categorical",
    "int_uniform",
    "uniform",
    "q_uniform",
    "log_uniform_values",
    "q_log_uniform_values",
]

_REST = object()  # stands for any value that no condition names


@dataclass(frozen=True)
class Parameter:
    """One searched setting: a dotted RunConfig field and the values that it may take.

    `values` for constant and categorical; `low`, `high` (inclusive) for the rest, `q` the step of
    int_uniform (1), q_uniform and q_log_uniform_values, whose values are multiples of q. `when`
    holds (parent, values) pairs: the parameter takes part only if each parent has one of them.
    """

    name: str
    distribution: Distribution
    values: tuple[Value, ...] = ()
    probabilities: tuple[float, ...] | None = None
    low: float = 0
    high: float = 0
    q: float = 0
    when: tuple[tuple[str, tuple[Value, ...]], ...] = ()

    @property
    def log(self) -> bool:
        """Whether values are spread evenly over orders of magnitude."""
        return self.distribution in ("log_uniform_values", "q_log_uniform_values")

    @property
    def integer(self) -> bool:
        """Whether every value is a whole number of type int."""
        return self.q > 0 and all(isinstance(x, int) for x in (self.low, self.high, self.q))

    @property
    def steps(self) -> range:
        """The k of the values k * q; only of a parameter with q."""
        slack = 1e-9  # 0.3 / 0.1 is a hair below 3
        first = math.ceil(self.low / self.q - slack)
        return range(first, math.floor(self.high / self.q + slack) + 1)

    @property
    def size(self) -> int | None:
        """The number of values; None = a continuum."""
        if self.values:
            return len(self.values)
        return len(self.steps) if self.q else None

    def at(self, index: int) -> Value:
        """The value number `index`, ascending or as listed; only of a parameter with a size."""
        if self.values:
            return self.values[index]
        return self._multiple(self.steps[index])

    def snap(self, value: float) -> float:
        """The value of the numeric domain nearest to `value`: clipped, and a multiple of q."""
        if not self.q:
            return min(max(value, self.low), self.high)
        steps = self.steps
        return self._multiple(min(max(round(value / self.q), steps[0]), steps[-1]))

    def contains(self, value: Value) -> bool:
        """Whether the parameter can take `value`; true and 1 differ."""
        if self.values:
            return any(same(value, own) for own in self.values)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            return False
        return math.isclose(self.snap(value), value, rel_tol=1e-12, abs_tol=1e-300)

    def sample(self, rng: random.Random) -> Value:
        """One random value."""
        return self.quantile(rng.random())

    def quantile(self, share: float) -> Value:
        """The value below which lies `share`, from 0 to under 1, of what is drawn at random."""
        if self.values:
            weights = self.probabilities or (1.0,) * len(self.values)
            bounds = list(itertools.accumulate(weights))
            return self.values[bisect.bisect_right(bounds[:-1], share * bounds[-1])]
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return self.snap(math.exp(low + share * (high - low)))
        if self.q:
            return self._multiple(self.steps[int(share * len(self.steps))])
        return self.snap(self.low + share * (self.high - self.low))

    def active(self, point: Mapping[str, Any]) -> bool:
        """Whether `when` holds at `point`; a parent that takes no part holds no value."""
        return all(
            parent in point and any(same(point[parent], value) for value in values)
            for parent, values in self.when
        )

    def _multiple(self, step: int) -> float:
        if self.integer:
            return step * int(self.q)
        clean = float(f"{step * self.q:.15g}")  # 0.3, not 0.30000000000000004
        return min(max(clean, float(self.low)), float(self.high))


@dataclass(frozen=True)
class SearchSpace:
    """Parameters in the order of the file; parents of a `when` come before their children."""

    parameters: tuple[Parameter, ...]

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)


def same(one: object, other: object) -> bool:
    """Equality in which a boolean is not a number."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def assign(space: SearchSpace, suggest: Callable[[Parameter], Value]) -> dict[str, Any]:
    """A point: `suggest`'s value of each parameter whose `when` holds, as flat dotted keys."""
    point: dict[str, Any] = {}
    for parameter in space:
        if parameter.active(point):
            point[parameter.name] = suggest(parameter)
    return point


def sample(space: SearchSpace, rng: random.Random) -> dict[str, Any]:
    """A random point."""
    return assign(space, lambda parameter: parameter.sample(rng))


def sobol(space: SearchSpace, index: int, seed: int) -> dict[str, Any]:
    """Point number `index`, from 1, of a scrambled Sobol sequence: random, but spread evenly.

    A parameter keeps its coordinate whether it takes part or not. SciPy's sequence.
    """
    from scipy.stats import qmc  # a second to import, which only a search has

    shares = qmc.Sobol(len(space), seed=seed).fast_forward(index).random(1)[0]
    share_of = {one.name: float(share) for one, share in zip(space, shares, strict=True)}
    return assign(space, lambda parameter: parameter.quantile(share_of[parameter.name]))


def default_point(space: SearchSpace, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """As much of `defaults` (flat dotted keys) as the space contains; constants stay constant.

    A parameter whose domain lacks its default is left out, for the sampler to fill.
    """
    point: dict[str, Any] = {}
    for parameter in space:
        if not parameter.active(point):
            continue
        if parameter.size == 1:
            point[parameter.name] = parameter.at(0)
        elif parameter.contains(defaults[parameter.name]):
            point[parameter.name] = defaults[parameter.name]
    return point


def size(space: SearchSpace) -> int | None:
    """The number of distinct points; None = infinitely many."""
    if any(parameter.size is None for parameter in space):
        return None
    decisive: dict[str, list[Value]] = {parameter.name: [] for parameter in space}
    for parent, values in (pair for parameter in space for pair in parameter.when):
        known = decisive[parent]
        known.extend(v for v in values if not any(same(v, old) for old in known))

    def count(index: int, point: dict[str, Any]) -> int:
        if index == len(space):
            return 1
        parameter = space.parameters[index]
        if not parameter.active(point):
            return count(index + 1, point)
        values = decisive[parameter.name]
        rest = (parameter.size or 0) - len(values)  # these all lead to the same branch
        total = sum(count(index + 1, {**point, parameter.name: value}) for value in values)
        return total + (rest * count(index + 1, {**point, parameter.name: _REST}) if rest else 0)

    return count(0, {})


def grid(space: SearchSpace) -> list[dict[str, Any]]:
    """Every point once, the last parameter varying fastest; ValueError for a continuum."""
    points: list[dict[str, Any]] = [{}]
    for parameter in space:
        if parameter.size is None:
            raise ValueError(f"{parameter.name} is continuous: a grid needs values to list")
        values = [{parameter.name: parameter.at(index)} for index in range(parameter.size)]
        points = [
            {**point, **value}
            for point in points
            for value in (values if parameter.active(point) else [{}])
        ]
    return points
