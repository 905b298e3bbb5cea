"""Compute an axis from the values of a chart: coordinates, ticks, and whether it is logarithmic."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastgan_ray.config.schedule import as_text
from fastgan_ray.report.text import is_number

LOG_RATIO = 8.0  # if highest / lowest value is above this ratio, a logarithmic axis is used
TINY = 1e-100  # values below TINY or above 1 / TINY could overflow on a logarithmic axis
FEW = 4  # if there are at most this many values, each value gets a tick
TEXT_SHARE = 0.15  # the share of an axis that the text of a tick needs
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)  # distances between ticks, times a power of ten


@dataclass(frozen=True)
class Axis:
    """An axis: the value `low` is at the coordinate `start`, and the value `high` is at `end`.

    `end` may be smaller than `start`. If `log` is True, the axis is logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the coordinate of a value, rounded to 0.1 and clamped to the axis."""
        low, high, scaled = (self._scaled(number) for number in (self.low, self.high, value))
        share = min(1.0, max(0.0, (scaled - low) / (high - low)))
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, count: int = 5) -> list[dict[str, float | str]]:
        """Return about `count` ticks at round numbers, each {"at" (the coordinate), "text"}."""
        values = log_ticks(self.low, self.high) if self.log else []
        if len(values) < 2:
            values = linear_ticks(self.low, self.high, count)
        shown = values[:: max(1, round(len(values) / count))]
        return [{"at": self.at(value), "text": f"{value:.6g}"} for value in shown]

    def _scaled(self, value: float) -> float:
        return math.log(max(value, self.low)) if self.log else value


def fit(
    values: Sequence[float], start: float, end: float, zero: bool = False, log: bool | None = None
) -> Axis:
    """Return an axis that contains all values, with a margin. All values must be finite.

    The axis is drawn from the coordinate `start` to the coordinate `end`. If `zero` is True, the
    axis starts at the value 0. `log` chooses a logarithmic (True) or a linear (False) axis. With
    None, the axis is logarithmic if all values are above 0 and the highest value is at least 8
    times the lowest.
    """
    low, high = (0.0 if zero else min(values)), max(values)
    if log is None:
        log = TINY < low <= high < 1 / TINY and high / low >= LOG_RATIO
    if log:
        factor = (high / low) ** 0.04 if high > low else 2.0
        return Axis(low / factor, high * factor, start, end, True)
    margin = 0.04 * (high - low) or 0.5 * abs(high) or 1.0
    return Axis(low if zero else low - margin, high + margin, start, end)


def linear_ticks(low: float, high: float, count: int) -> list[float]:
    """Return evenly spaced round numbers from `low` to `high`: at least two, at most `count`."""
    power = 10.0 ** math.floor(math.log10((high - low) / count))
    steps = [factor * power * step for factor in (1, 10) for step in STEPS]
    for step in steps:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < count:
            return [round(index * step, 12) for index in range(first, last + 1)]
    raise AssertionError("even the coarsest step gives too many ticks")


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times each power of ten, from `low` (above 0) to `high`.

    If the range has more than four powers of ten, return only the powers of ten.
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(powers) <= 4 else (1,)
    values = [float(f"{factor}e{power}") for power in powers for factor in factors]
    return [value for value in values if low <= value <= high]


def all_numbers(values: Sequence[object]) -> bool:
    """Return whether all values are numbers; if so, a numeric axis can show them."""
    return all(map(is_number, values))


def value_ticks(axis: Axis, values: Sequence[float]) -> list[dict[str, Any]]:
    """Return ticks {"at" (the coordinate), "text"} for `values`.

    If the number of different values is above the constant FEW, the ticks are at round numbers.
    Otherwise, they are at the values. A value whose text would overlap with the previous text has
    no tick.
    """
    distinct = sorted(set(values))
    if len(distinct) > FEW:
        return list(axis.ticks(FEW))
    ticks: list[dict[str, Any]] = []
    for value in distinct:
        at = axis.at(value)
        if not ticks or abs(at - ticks[-1]["at"]) >= TEXT_SHARE * abs(axis.end - axis.start):
            ticks.append(
                {"at": at, "text": str(value) if isinstance(value, int) else f"{value:.4g}"}
            )
    return ticks


def category(value: object) -> str:
    """Return the name of the category of `value`.

    A text is its own name. The name of a schedule is its short form. The name of any other value,
    and of an empty text, is its JSON.
    """
    value = as_text(value)
    return value if isinstance(value, str) and value else json.dumps(value)
