"""Numbers, settings and states as short text, the same in every table, chart and page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def settings_text(settings: Mapping[str, Any]) -> str:
    """Write an arm's settings in one line, as in "model.d_sle = false, model.ngf = 8"."""
    text = ", ".join(f"{key} = {value_text(value)}" for key, value in settings.items())
    return text or "same as the base"


def value_text(value: object) -> str:
    """Write a setting as a YAML file has it: true, 0.001, and "" or "a,b" in quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if value == "" or "," in str(value) else str(value)


def is_number(value: object) -> bool:
    """Tell whether a setting is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def rounded(value: object) -> object:
    """Round a float to four digits, for reading; leave other values as they are."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def state_text(state: str) -> str:
    """Write a trial's state in words: "out of memory"."""
    return state.replace("_", " ")


def mean_sd(mean: float | None, sd: float | None) -> str:
    """Write "41.2 ± 3.1", "41.2" without a standard deviation, "-" without a mean."""
    return number(mean) if sd is None else f"{number(mean)} ± {number(sd)}"


def difference(mean: float | None, low: float | None, high: float | None) -> str:
    """Write a difference with its interval, "-9.1 [-14.2, -4.0]"; "-" without a mean."""
    if mean is None:
        return "-"
    text = f"{mean:+.3g}"
    return text if low is None else f"{text} [{low:+.3g}, {high:+.3g}]"


def number(value: float | None) -> str:
    """Write a number with one decimal, below one with three digits; "-" for None."""
    if value is None:
        return "-"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.3g}"


def p_value(value: float | None) -> str:
    """Write a p-value with two digits; "-" for None."""
    return "-" if value is None else "<0.0001" if value < 1e-4 else f"{value:.2g}"


def parameter_count(parameters: int) -> str:
    """Write 29127846 as "29.1 M" and 926083 as "926 k"."""
    return f"{parameters / 1e6:.1f} M" if parameters >= 1e6 else f"{parameters / 1e3:.0f} k"
