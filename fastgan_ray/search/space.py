"""A search space: an ordered list of named parameters, with optional conditions.

This module is pure and does not depend on any sampler. `assign` calls `suggest` for each active
parameter in order, so grid, random and Bayesian searches treat conditions in the same way. Optuna's
and Ray's spaces are not used, because they express conditions as code. The points of such a space
cannot be listed or counted.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeGuard

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

Condition: TypeAlias = tuple[str, tuple[Value, ...]]  # (parent, allowed values of the parent)

_OTHER_VALUE = object()  # stands for all values that no condition mentions


@dataclass(frozen=True)
class Parameter:
    """A searched setting: the dotted name of a RunConfig field, and the values that it may take.

    The distributions `constant` and `categorical` use `values`; all others use `low` and `high`
    (both inclusive). The values of `int_uniform` (where `q` is 1), `q_uniform` and
    `q_log_uniform_values` are multiples of `q`. `when` has pairs (parent, values): the parameter is
    active only if each parent has one of the values in its pair.
    """

    name: str
    distribution: Distribution
    values: tuple[Value, ...] = ()
    probabilities: tuple[float, ...] | None = None
    low: float = 0
    high: float = 0
    q: float = 0
    when: tuple[Condition, ...] = ()

    @property
    def log(self) -> bool:
        """True if random values are evenly distributed on a logarithmic scale."""
        return self.distribution in ("log_uniform_values", "q_log_uniform_values")

    @property
    def integer(self) -> bool:
        """True if every value is an int."""
        return self.q > 0 and all(isinstance(x, int) for x in (self.low, self.high, self.q))

    @property
    def steps(self) -> range:
        """The integers k for which `k * q` is a possible value; only for a parameter with `q`."""
        slack = 1e-9  # 0.3 / 0.1 is slightly less than 3
        first = math.ceil(self.low / self.q - slack)
        return range(first, math.floor(self.high / self.q + slack) + 1)

    @property
    def size(self) -> int | None:
        """The number of possible values; None if there are infinitely many."""
        if self.values:
            return len(self.values)
        return len(self.steps) if self.q else None

    def at(self, index: int) -> Value:
        """Return the possible value with this index, counted from 0.

        Listed values are in the order of the list; multiples of q are in ascending order. The
        parameter must have a finite size.
        """
        if self.values:
            return self.values[index]
        return self._multiple(self.steps[index])

    def snap(self, value: float) -> float:
        """Return the possible value of a numeric parameter that is nearest to `value`.

        The result is between the bounds and, if the parameter has a q, a multiple of q.
        """
        if not self.q:
            return min(max(value, self.low), self.high)
        steps = self.steps
        return self._multiple(min(max(round(value / self.q), steps[0]), steps[-1]))

    def contains(self, value: Value) -> bool:
        """Return whether the parameter can have `value`. The values true and 1 are different."""
        if self.values:
            return any(same(value, listed) for listed in self.values)
        if not is_number(value):
            return False
        return math.isclose(self.snap(value), value, rel_tol=1e-12, abs_tol=1e-300)

    def nearest(self, value: Value) -> float | None:
        """Return the number that the parameter can have and that is nearest to `value`.

        If `value` and all listed numbers are positive, ratios are compared instead of differences.
        Return None if `value` is not a number, or if the parameter lists no number.
        """
        if not is_number(value):
            return None
        if not self.values:
            return self.snap(value)
        numbers = [listed for listed in self.values if is_number(listed)]
        if not numbers:
            return None
        scale = math.log if value > 0 and min(numbers) > 0 else float
        return min(numbers, key=lambda listed: abs(scale(listed) - scale(value)))

    def sample(self, rng: random.Random) -> Value:
        """Return a random value from the parameter's distribution."""
        return self.quantile(rng.random())

    def quantile(self, share: float) -> Value:
        """Return the value at quantile `share` (0 <= share < 1) of the parameter's distribution."""
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
        """Return whether the conditions in `when` are true at `point`.

        `point` must not have values of inactive parents.
        """
        return all(
            parent in point and any(same(point[parent], value) for value in values)
            for parent, values in self.when
        )

    def _multiple(self, step: int) -> float:
        if self.integer:
            return step * int(self.q)
        clean = float(f"{step * self.q:.15g}")  # 0.3, not 0.30000000000000004
        return min(max(clean, float(self.low)), float(self.high))


# The parameters in the order of the file. Each parent comes before its children.
SearchSpace: TypeAlias = tuple[Parameter, ...]


def same(first: object, second: object) -> bool:
    """Return whether two values are equal; true differs from 1, and false differs from 0."""
    return isinstance(first, bool) == isinstance(second, bool) and bool(first == second)


def assign(space: SearchSpace, suggest: Callable[[Parameter], Value]) -> dict[str, Any]:
    """Choose a value for each active parameter; return the point, {dotted name: value}.

    `suggest` takes a parameter and returns its value.
    """
    point: dict[str, Any] = {}
    for parameter in space:
        if parameter.active(point):
            point[parameter.name] = suggest(parameter)
    return point


def sample(space: SearchSpace, rng: random.Random) -> dict[str, Any]:
    """Return a random point of the space, {dotted name: value}."""
    return assign(space, lambda parameter: parameter.sample(rng))


def sobol(space: SearchSpace, index: int, seed: int) -> dict[str, Any]:
    """Return point number `index`, counted from 0, of a scrambled Sobol sequence.

    The points are random but evenly distributed over the space. Each parameter has its own
    coordinate of the sequence; the coordinates of inactive parameters are ignored. Optuna's
    QMCSampler is not used because it does not support categorical and conditional parameters.
    """
    from scipy.stats import qmc  # takes a second to import

    shares = qmc.Sobol(len(space), seed=seed).fast_forward(index).random(1)[0]
    share_of = {
        parameter.name: float(share) for parameter, share in zip(space, shares, strict=True)
    }
    return assign(space, lambda parameter: parameter.quantile(share_of[parameter.name]))


def default_point(space: SearchSpace, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the point of the space that is nearest to `defaults` ({dotted name: value}).

    A parameter with a single value has this value. Any other parameter has its default if possible,
    or else the nearest possible number. If no number is possible (e.g. the default is a policy that
    the space does not list), the parameter is left out. Inactive parameters are also left out.
    """
    point: dict[str, Any] = {}
    for parameter in space:
        if not parameter.active(point):
            continue
        if parameter.size == 1:
            point[parameter.name] = parameter.at(0)
        elif parameter.contains(defaults[parameter.name]):
            point[parameter.name] = defaults[parameter.name]
        elif (number := parameter.nearest(defaults[parameter.name])) is not None:
            point[parameter.name] = number
    return point


def size(space: SearchSpace) -> int | None:
    """Return the number of different points of a space; None if there are infinitely many."""
    if any(parameter.size is None for parameter in space):
        return None
    decisive: dict[str, list[Value]] = {parameter.name: [] for parameter in space}
    for parent, values in (pair for parameter in space for pair in parameter.when):
        mentioned = decisive[parent]
        mentioned.extend(v for v in values if not any(same(v, old) for old in mentioned))

    def count(index: int, point: dict[str, Any]) -> int:
        if index == len(space):
            return 1
        parameter = space[index]
        if not parameter.active(point):
            return count(index + 1, point)
        values = decisive[parameter.name]
        others = (parameter.size or 0) - len(values)  # all of these have the same children
        total = sum(count(index + 1, {**point, parameter.name: value}) for value in values)
        if others:
            total += others * count(index + 1, {**point, parameter.name: _OTHER_VALUE})
        return total

    return count(0, {})


def grid(space: SearchSpace) -> list[dict[str, Any]]:
    """Return every point of the space once; the last parameter varies fastest.

    Raise ValueError if a parameter has infinitely many values.
    """
    points: list[dict[str, Any]] = [{}]
    for parameter in space:
        if parameter.size is None:
            raise ValueError(f"{parameter.name} is continuous, so a grid cannot list its values")
        values = [{parameter.name: parameter.at(index)} for index in range(parameter.size)]
        points = [
            {**point, **value}
            for point in points
            for value in (values if parameter.active(point) else [{}])
        ]
    return points


def is_number(value: Any) -> TypeGuard[float]:  # noqa: ANN401 - any setting
    """Return True if `value` is a finite number; true and false are not numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
