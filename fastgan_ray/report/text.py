"""Numbers, settings and comparisons as short text, the same in every table and page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def settings_text(settings: Mapping[str, Any]) -> str:
    """An arm's settings in a line, as in "model.d_sle = false, model.ngf = 8"."""
    given = ", ".join(f"{key} = {value_text(value)}" for key, value in settings.items())
    return given or "as the base"


def mean_sd(mean: float | None, sd: float | None) -> str:
    """ "41.2 ± 3.1", "41.2" without a spread, "-" without a mean."""
    return number(mean) if sd is None else f"{number(mean)} ± {number(sd)}"


def difference(comparison: dict[str, Any]) -> str:
    """ "-9.1 [-14.2, -4.0]", with a sign; "-" without a pair."""
    if comparison["mean"] is None:
        return "-"
    text = f"{comparison['mean']:+.3g}"
    if comparison["low"] is None:
        return text
    return f"{text} [{comparison['low']:+.3g}, {comparison['high']:+.3g}]"


def number(value: float | None) -> str:
    """A number as tables have it: one decimal, three digits below one; "-" for none."""
    if value is None:
        return "-"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.3g}"


def p_value(value: float | None) -> str:
    """A p-value to two digits; "-" for none."""
    return "-" if value is None else "<0.0001" if value < 1e-4 else f"{value:.2g}"


def count(parameters: int) -> str:
    """29127846 -> "29.1 M", 926083 -> "926 k"."""
    return f"{parameters / 1e6:.1f} M" if parameters >= 1e6 else f"{parameters / 1e3:.0f} k"


def value_text(value: object) -> str:
    """A setting as a file has it: true, 0.001, "" or "a,b" in quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if value == "" or "," in str(value) else str(value)
