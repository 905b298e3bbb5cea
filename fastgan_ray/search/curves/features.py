"""Convert the points of a search space to numbers, so that distances can be computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from fastgan_ray.config.strict_yaml import Value
from fastgan_ray.search.curves.kernel import Array
from fastgan_ray.search.repeats import SEED
from fastgan_ray.search.space import Parameter, SearchSpace, is_number, same


class Knowledge(Protocol):
    """What is known before the first trial, e.g. the effects of points on other data sets."""

    @property
    def hyperparameters(self) -> Mapping[str, float]:
        """The hyperparameters that fit other data sets, by name (see `posterior.informed`)."""

    def features(self, points: Sequence[Mapping[str, Any]]) -> Array:
        """Return the features (points, columns) of points of the search."""

    def likely_effects(self, points: Sequence[Mapping[str, Any]]) -> Array:
        """Return the effect (points,) at the end of a training that each point probably has.

        It is on the scale of the process; lower is better.
        """

    def kept(self, time: Array) -> Array:
        """Return which share of the likely effects is visible at each log-time."""


def encoded_parameters(space: SearchSpace) -> list[Parameter]:
    """Return the parameters that `encode` returns an array for: all except train.seed."""
    return [parameter for parameter in space if parameter.name != SEED]


def encode(
    space: SearchSpace,
    points: Sequence[Mapping[str, Any]],
    knowledge: Knowledge | None = None,
) -> list[Array]:
    """Return a list with an array (points, columns) for each parameter of `space`.

    The columns depend on the values that the parameter can have:
    - numbers: one column, from 0 (lowest number) to 1 (highest number). The scale is that of the
      distribution; for listed numbers, it is logarithmic if all are positive.
    - policies such as "color,cutout": one column for each operation.
    - other listed values: one column for each value.
    The distance between two values of a parameter is at most 1. If a parameter is inactive at a
    point, the array has the middle of the parameter's values.

    The parameter train.seed gets no array, so trainings that differ only in the seed are the same
    point. If `space` has no other parameter, the list has one array of zeros.

    With `knowledge`, the list has one more array: the features of the points.
    """
    columns = [
        _columns(parameter, [point.get(parameter.name, _ABSENT) for point in points])
        for parameter in encoded_parameters(space)
    ]
    columns = columns or [np.zeros((len(points), 1))]
    return [*columns, knowledge.features(points)] if knowledge else columns


_ABSENT = object()


def _columns(parameter: Parameter, values: Sequence[Any]) -> Array:
    listed = [_vector(parameter, value) for value in parameter.values or ()]
    middle = np.mean(listed, axis=0).tolist() if listed else [0.5]
    # Encode each listed value once, for speed: a search encodes hundreds of points for each trial.
    known = {repr(value): row for value, row in zip(parameter.values, listed, strict=True)}
    rows = [
        middle if value is _ABSENT else known.get(repr(value)) or _vector(parameter, value)
        for value in values
    ]
    return np.array(rows, dtype=float).reshape(len(values), len(middle))


def _vector(parameter: Parameter, value: Value) -> list[float]:
    listed = parameter.values
    if not listed:
        return [_position(_number(value), parameter.low, parameter.high, parameter.log)]
    numbers = [entry for entry in listed if is_number(entry)]
    if len(numbers) == len(listed):
        low, high = min(numbers), max(numbers)
        return [_position(_number(value), low, high, low > 0)]
    operations = _operations(listed)
    if operations:
        chosen = str(value).split(",")
        return [(name in chosen) / math.sqrt(len(operations)) for name in operations]
    return [same(value, entry) / math.sqrt(2) for entry in listed]


def _position(value: float, low: float, high: float, log: bool) -> float:
    if high <= low:
        return 0.5
    if log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _operations(listed: Sequence[Value]) -> list[str]:
    """Return the names of all operations in `listed`; [] if the listed values are not policies."""
    policies = [entry for entry in listed if isinstance(entry, str)]
    if len(policies) < len(listed) or not any("," in policy for policy in policies):
        return []
    return sorted({name for policy in policies for name in policy.split(",") if name})


def _number(value: Value) -> float:
    assert is_number(value), f"a numeric parameter has the value {value!r}"
    return value
