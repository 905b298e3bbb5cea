"""Where a number stands on a chart's axis, and which numbers are written beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LOG_RATIO = 8.0  # from here on small values would lie on top of each other
FEW = 4  # values that are all written beside an axis
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """Numbers from `low` to `high` at the coordinates from `start` to `end` (either way round)."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The coordinate of a value, to a tenth; of one beyond the axis that of its end."""
        low, high, here = (self._scaled(one) for one in (self.low, self.high, value))
        share = min(1.0, max(0.0, (here - low) / (high - low)))
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, count: int = 5) -> list[dict[str, float | str]]:
        """About `count` round numbers within it: {"at", "text"}."""
        values = log_ticks(self.low, self.high) if self.log else []
        if len(values) < 2:
            values = linear_ticks(self.low, self.high, count)
        kept = values[:: max(1, round(len(values) / count))]
        return [{"at": self.at(value), "text": f"{value:.6g}"} for value in kept]

    def _scaled(self, value: float) -> float:
        return math.log(max(value, self.low)) if self.log else value


def fit(
    values: Sequence[float], start: float, end: float, zero: bool = False, log: bool | None = None
) -> Axis:
    """An axis that holds all values (at least one, finite), with some room.

    `zero`: it begins at 0. `log` None: logarithmic where the values spread so far that it helps.
    """
    low, high = (0.0 if zero else min(values)), max(values)
    if log is None:
        log = low > 0 and high / low >= LOG_RATIO
    if log:
        room = (high / low) ** 0.04 if high > low else 2.0
        return Axis(low / room, high * room, start, end, True)
    room = 0.04 * (high - low) or 0.5 * abs(high) or 1.0
    return Axis(low if zero else low - room, high + room, start, end)


def linear_ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers at one distance, from `low` to `high`: at most `count`, at least two."""
    power = 10.0 ** math.floor(math.log10((high - low) / count))
    steps = [factor * power * step for factor in (1, 10) for step in STEPS]
    for step in steps:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < count:
            return [round(index * step, 12) for index in range(first, last + 1)]
    raise AssertionError("the coarsest step leaves one tick")


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten from `low` to `high` (above 0); powers alone if many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(powers) <= 4 else (1,)
    values = [float(f"{factor}e{power}") for power in powers for factor in factors]
    return [value for value in values if low <= value <= high]


def numeric(values: Sequence[object]) -> bool:
    """Whether all values are numbers, so that they have an axis."""
    return all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)


def value_ticks(axis: Axis, values: Sequence[float]) -> list[dict[str, Any]]:
    """{"at", "text"} of the values themselves where they are few, else of round numbers."""
    few = sorted(set(values))
    if len(few) > FEW:
        return list(axis.ticks(FEW))
    return [{"at": axis.at(value), "text": f"{value:.4g}"} for value in few]


def word(value: object) -> str:
    """A value as the name of a category; what is no text or empty, as JSON has it."""
    return value if isinstance(value, str) and value else json.dumps(value)
