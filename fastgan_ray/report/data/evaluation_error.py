"""How large is the error of one evaluation in an ablation?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

Trial = Mapping[str, Any]


def evaluation_error(
    trials: Sequence[Trial], name: str, baseline: str | None = None
) -> float | None:
    """Return the standard error of one evaluation: the root mean square over the trials.

    `trials` are finished trials. `name` is the key of the error in a trial's last row. If
    `baseline` is the name of an arm, each error is converted to percent, in the same way as the
    differences (see `compare_on_sets`). Return None if no trial has the error.
    """
    trials = [trial for trial in trials if trial["value"] is not None]
    units = None if baseline is None else _units(trials, baseline)
    errors = []
    for trial in trials:
        error = trial["rows"][-1].get(name) if trial["rows"] else None
        if error is not None:
            errors.append(100 * error / units[trial["trial_id"]] if units else error)
    return math.sqrt(sum(error**2 for error in errors) / len(errors)) if errors else None


def _units(trials: Sequence[Trial], baseline: str) -> dict[str, float]:
    """Return, by the id of each trial, what is 100 % of its value.

    This is its value if all values are positive, else the mean absolute value of the baseline on
    the trial's data set.
    """
    if all(trial["value"] > 0 for trial in trials):
        return {trial["trial_id"]: trial["value"] for trial in trials}
    sizes: dict[str, list[float]] = {}
    for trial in trials:
        if trial["arm"] == baseline:
            sizes.setdefault(trial["data"], []).append(abs(trial["value"]))
    means = {data: fmean(values) or 1.0 for data, values in sizes.items()}
    return {trial["trial_id"]: means.get(trial["data"], 1.0) for trial in trials}
