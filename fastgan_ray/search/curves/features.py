"""Points of a search space as vectors of numbers, so that distances between points make sense."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from fastgan_ray.config.strict_yaml import Value
from fastgan_ray.search.space import Parameter, SearchSpace, same

Array = NDArray[np.float64]


def encode(space: SearchSpace, points: Sequence[Mapping[str, Any]]) -> list[Array]:
    """Return, for each parameter of the space, an array (points, columns).

    A number takes one column, from 0 (its lowest value) to 1 (its highest value), on the scale of
    its distribution. A list of operations such as "color,cutout" takes one column for each
    operation. Other listed values take one column each. Two different values have a distance of at
    most 1. A parameter that is inactive at a point is in the middle of its values, because the
    parameter on which it depends already shows the difference.
    """
    return [
        _columns(parameter, [point.get(parameter.name, _ABSENT) for point in points])
        for parameter in space
    ]


_ABSENT = object()


def _columns(parameter: Parameter, values: Sequence[Any]) -> Array:
    listed = np.array([_vector(parameter, value) for value in parameter.values or ()])
    middle = listed.mean(axis=0) if len(listed) else np.array([0.5])
    rows = [middle if value is _ABSENT else _vector(parameter, value) for value in values]
    return np.array(rows, dtype=float).reshape(len(values), len(middle))


def _vector(parameter: Parameter, value: Value) -> list[float]:
    listed = parameter.values
    if not listed:
        return [_position(_number(value), parameter.low, parameter.high, parameter.log)]
    numbers = [entry for entry in listed if _is_number(entry)]
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
    """Return the operations in a list of policies; [] if the values are not policies."""
    policies = [entry for entry in listed if isinstance(entry, str)]
    if len(policies) < len(listed) or not any("," in policy for policy in policies):
        return []
    return sorted({name for policy in policies for name in policy.split(",") if name})


def _number(value: Value) -> float:
    assert _is_number(value), f"a numeric parameter has the value {value!r}"
    return value


def _is_number(value: Value) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
