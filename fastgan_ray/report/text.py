"""Format numbers, settings and states as short text, in the same way for all tables and charts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastgan_ray.config.schedule import as_text
from fastgan_ray.search.file.spec import DEFAULT


def label(trial_id: str, default: str | None) -> str:
    """Return a trial's id, with a note if the trial used the published default.

    `default` is the id of the trial that used the published default, or None.
    """
    return f"{trial_id} ({DEFAULT})" if trial_id == default else trial_id


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return an arm's settings in one line, e.g. "model.d_sle = false, model.ngf = 8"."""
    text = ", ".join(f"{key} = {value_text(value)}" for key, value in settings.items())
    return text or "same as the base"


def value_text(value: object) -> str:
    """Return a setting as it is written in a YAML file, e.g. true or 0.001.

    An empty text and a text with a comma are put in quotes. A schedule is written in its short form
    (`config/schedule.py`).
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return str(as_text(value))
    return f'"{value}"' if value == "" or "," in str(value) else str(value)


def search_verdict(summary: Mapping[str, Any]) -> str:
    """Return the verdict of a search, and whether it is settled, from summary.json."""
    settled = summary.get("settled", "")  # summaries of earlier versions lack it
    return f"{summary.get('verdict', '')} {settled}".strip()


def is_number(value: object) -> bool:
    """Return whether a setting is a number; True and False are not numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def rounded(value: object) -> object:
    """Round a float to four significant digits; return other values unchanged."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def state_text(state: str) -> str:
    """Return a trial's state in words, e.g. "out of memory" for "out_of_memory"."""
    return state.replace("_", " ")


def mean_sd(mean: float | None, sd: float | None) -> str:
    """Return "41.2 ± 3.1"; "41.2" if the standard deviation is None; "-" if the mean is None."""
    return number(mean) if sd is None else f"{number(mean)} ± {number(sd)}"


def difference(mean: float | None, low: float | None, high: float | None, unit: str = "") -> str:
    """Return a difference and its interval as text, e.g. "-9.1 [-14.2, -4.0]".

    `low` and `high` are the ends of the interval. `unit`, e.g. " %", follows the mean. Return "-"
    if the mean is None.
    """
    if mean is None:
        return "-"
    text = f"{mean:+.3g}{unit}"
    return text if low is None else f"{text} [{low:+.3g}, {high:+.3g}]"


def number(value: float | None) -> str:
    """Return a number as text with one decimal; "-" for None.

    For a number between -1 and 1, the text has three significant digits.
    """
    if value is None:
        return "-"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.3g}"


def p_value(value: float | None) -> str:
    """Return a p-value as text with two significant digits, or "<0.0001"; "-" for None."""
    return "-" if value is None else "<0.0001" if value < 1e-4 else f"{value:.2g}"


def parameter_count(parameters: int) -> str:
    """Return a number of parameters in short form: 29127846 as "29.1 M", 926083 as "926 k"."""
    return f"{parameters / 1e6:.1f} M" if parameters >= 1e6 else f"{parameters / 1e3:.0f} k"


def best_moment(best: Mapping[str, Any], metric: str) -> str:
    """Return sentences about the best and the last checkpoint of the best training.

    `best` is the entry "best" of summary.json, and `metric` is the name of the metric. Return "" if
    the training keeps no best checkpoint.
    """
    if best.get("best_kimg") is None:
        return ""
    return (
        f"Best checkpoint of the best training: {metric} {number(best['best_value'])} at "
        f"{best['best_kimg']:g} kimg on new latents ({number(best['selected_value'])} on the "
        f"latents that were used to choose it). Last checkpoint of this training: "
        f"{number(best['last_value'])}."
    )
