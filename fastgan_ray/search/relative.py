"""Scale values so that differences are relative to a baseline; convert differences to percent."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from statistics import fmean
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def scaled(
    values: Mapping[str, Mapping[Key, float | None]], baseline: str, is_log: bool
) -> dict[str, dict[Key, float | None]]:
    """Scale the values on one data set, so that differences are relative to the baseline.

    `values` has the values of each arm by a key such as the seed; None is a failed training. If
    `is_log` is True, return the logarithms of the values, which must be positive. Otherwise, divide
    the values by the mean absolute value of the baseline.
    """
    if is_log:
        return {arm: _map(of_arm, math.log) for arm, of_arm in values.items()}
    sizes = [abs(value) for value in values[baseline].values() if value is not None]
    size = (fmean(sizes) if sizes else 0.0) or 1.0
    return {arm: _map(of_arm, lambda value: value / size) for arm, of_arm in values.items()}


def all_positive(values: Mapping[str, Mapping[Key, float | None]]) -> bool:
    """Return whether all values are positive, so that their logarithms can be used."""
    return all(value > 0 for arm in values.values() for value in arm.values() if value is not None)


def percent(difference: float | None, is_log: bool) -> float | None:
    """Convert a difference of scaled values to a change in percent; None stays None.

    The difference is a log ratio if `is_log` is True, else a fraction.
    """
    if difference is None:
        return None
    return 100 * (math.expm1(difference) if is_log else difference)


def _map(
    values: Mapping[Key, float | None], function: Callable[[float], float]
) -> dict[Key, float | None]:
    return {key: None if value is None else function(value) for key, value in values.items()}
