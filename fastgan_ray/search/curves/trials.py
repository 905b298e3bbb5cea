"""The evaluations of a search's trials in the form that the Gaussian process needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fastgan_ray.search.curves.kernel import Array
from fastgan_ray.search.curves.posterior import Rows

MAX_ROWS = 600
LEAST_ROWS = 2  # that a trial keeps
SPREAD = 0.2  # standard deviation of values on a linear scale, as the priors of `posterior` assume


@dataclass(frozen=True)
class Trial:
    """A trial: its point, its values by kimg (lower is better), and whether it is running.

    `is_infeasible` is true if the trial diverged or ran out of memory. `errors` has the standard
    errors of the values by kimg; a value that is not in it has an unknown error.
    """

    point: Mapping[str, Any]
    values: Mapping[float, float]
    is_running: bool = False
    is_infeasible: bool = False
    errors: Mapping[float, float] = field(default_factory=dict)


class Scale(NamedTuple):
    """The scale of the process: logarithms if `unit` is None, else multiples of `unit`."""

    unit: float | None

    def scaled(self, value: float) -> float:
        """Convert a value of the metric to the scale of the process."""
        return math.log(value) if self.unit is None else value / self.unit

    def metric(self, scaled: Array) -> Array:
        """Convert values on the scale of the process to values of the metric."""
        return np.exp(scaled) if self.unit is None else np.asarray(scaled) * self.unit

    def variance(self, value: float, error: float) -> float:
        """Return a value's variance on the scale of the process; `error` is its standard error."""
        return float((error / (value if self.unit is None else self.unit)) ** 2)


def rows_of(trials: Sequence[Trial], total_kimg: float, max_rows: int = MAX_ROWS) -> Rows:
    """Return the evaluations of all trials, with scaled values and log(kimg / `total_kimg`).

    Values are scaled by `scale_of`. The variance of a row is that of the value's known standard
    error, on this scale; it is 0 if the error is unknown. An infeasible trial gets one more row: at
    the end of a training, with the worst of all values.

    The result has the last evaluation of each trial, and some of its earlier evaluations. At most
    `max_rows` / (number of trials) evaluations of a trial are used, or 2 if this limit is below 2.
    """
    per_trial = max(LEAST_ROWS, max_rows // max(1, len(trials)))
    kept = [_thinned(trial.values, per_trial) for trial in trials]
    scale = scale_of(trials)
    rows = [
        (
            index,
            math.log(kimg / total_kimg),
            scale.scaled(value),
            scale.variance(value, trials[index].errors.get(kimg, 0.0)),
        )
        for index, values in enumerate(kept)
        for kimg, value in values.items()
    ]
    worst = max((value for _, _, value, _ in rows), default=0.0)
    rows += [(index, 0.0, worst, 0.0) for index, trial in enumerate(trials) if trial.is_infeasible]
    index, time, value, variance = (np.array(column) for column in zip(*sorted(rows), strict=True))
    return Rows(index, time, value, variance)


def scale_of(trials: Sequence[Trial]) -> Scale:
    """Return the scale of the process for the values of all trials.

    It is logarithmic if all values are positive. Otherwise (a kernel distance can be negative), it
    is linear, and the standard deviation of all values is `SPREAD` on this scale.
    """
    values = [value for trial in trials for value in trial.values.values()]
    if all(value > 0 for value in values):
        return Scale(None)
    return Scale(float(np.std(values)) / SPREAD or 1.0)


def _thinned(values: Mapping[float, float], count: int) -> dict[float, float]:
    """Return at most `count` of the values: the last one, and others evenly spaced in log kimg."""
    kimgs = sorted(values)
    if len(kimgs) <= count:
        return {kimg: values[kimg] for kimg in kimgs}
    wanted = np.geomspace(kimgs[0], kimgs[-1], count)
    nearest = {min(kimgs, key=lambda kimg: abs(math.log(kimg / goal))) for goal in wanted}
    return {kimg: values[kimg] for kimg in sorted(nearest)}


def with_expected(rows: Rows, trial: Array, value: Array) -> Rows:
    """Return `rows` with one more row for each running trial: its expected final value.

    `trial` has the indices of the running trials, and `value` their expected final values.
    """
    count = len(trial)
    return Rows(
        np.append(rows.trial, trial),
        np.append(rows.time, np.zeros(count)),
        np.append(rows.value, value),
        np.append(rows.variance, np.zeros(count)),
    )
