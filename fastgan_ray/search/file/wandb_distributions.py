"""Distributions of W&B's sweep files that are not supported here, and what can replace them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

EXPONENTS = "is not supported, because its min and max are exponents"
UNBOUNDED = "is not supported, because it has no bounds"
UNSUPPORTED = "is not supported"
# Each distribution, with the reason why it is not supported.
REFUSED = {
    "log_uniform": EXPONENTS,
    "q_log_uniform": EXPONENTS,
    "inv_log_uniform": EXPONENTS,
    "inv_log_uniform_values": UNSUPPORTED,
    "normal": UNBOUNDED,
    "q_normal": UNBOUNDED,
    "log_normal": UNBOUNDED,
    "q_log_normal": UNBOUNDED,
    "beta": UNSUPPORTED,
    "q_beta": UNSUPPORTED,
}
# The bounds that replace a normal distribution are mean -/+ this many standard deviations.
DEVIATIONS = 2

Numbers = Mapping[str, float]
Bounds = tuple[float, float]


def translation(entry: Mapping[str, Any]) -> str:
    """Return advice for an `entry` with a distribution in REFUSED: the entry to use instead.

    The advice contains the numbers of `entry`, converted to a supported distribution. If a number
    is missing or wrong, the advice contains only the name of the supported distribution.
    """
    name = str(entry["distribution"])
    logarithmic, q = "log" in name, "q_" if name.startswith("q_") else ""
    better = f"{q}log_uniform_values" if logarithmic else f"{q}uniform"
    numbers = {"mu": 0.0, "sigma": 1.0, **{k: v for k, v in entry.items() if _is_number(v)}}
    try:
        low, high = _BOUNDS[name.removeprefix("q_")](numbers)
    except (KeyError, OverflowError):
        return (
            f"use {better}; its min and max are the smallest and the greatest value, not exponents"
        )
    step = f", q: {numbers.get('q', 1):g}" if q else ""
    return f"use {{distribution: {better}, min: {low:.4g}, max: {high:.4g}{step}}}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _normal(numbers: Numbers) -> Bounds:
    mean, width = numbers["mu"], DEVIATIONS * abs(numbers["sigma"])
    return mean - width, mean + width


def _exponentials(bounds: Bounds) -> Bounds:
    return math.exp(bounds[0]), math.exp(bounds[1])


# Distribution, without "q_" -> the function from its numbers to the bounds of its values.
_BOUNDS: dict[str, Callable[[Numbers], Bounds]] = {
    "log_uniform": lambda numbers: _exponentials((numbers["min"], numbers["max"])),
    "inv_log_uniform": lambda numbers: _exponentials((-numbers["max"], -numbers["min"])),
    "inv_log_uniform_values": lambda numbers: (numbers["min"], numbers["max"]),
    "normal": _normal,
    "log_normal": lambda numbers: _exponentials(_normal(numbers)),
    "beta": lambda numbers: (0.0, 1.0),
}
