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
CLEAR = 3.0  # standard errors by which a value must be above 0 to have a logarithm
TINY = 1e-12  # spread of values, as a share of the largest one; below, it is a rounding error
LENGTH = "train.total_kimg"


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
    """The scale of the process: log(value) if `unit` is None, else asinh(value / unit).

    asinh(v) is about log(2 v) for large v, v for small v, and defined for negative v. So on both
    scales, a difference of 0.01 between values far above the unit is 1 %.
    """

    unit: float | None

    def scaled(self, value: float) -> float:
        """Convert a value of the metric to the scale of the process."""
        return math.log(value) if self.unit is None else math.asinh(value / self.unit)

    def metric(self, scaled: Array) -> Array:
        """Convert values on the scale of the process to values of the metric."""
        return np.exp(scaled) if self.unit is None else np.sinh(scaled) * self.unit

    def variance(self, value: float, error: float) -> float:
        """Return a value's variance on the scale of the process; `error` is its standard error."""
        return float((error / (value if self.unit is None else math.hypot(value, self.unit))) ** 2)


def rows_of(trials: Sequence[Trial], total_kimg: float, max_rows: int = MAX_ROWS) -> Rows:
    """Return the evaluations of all trials, with scaled values and log(kimg / `total_kimg`).

    Values are scaled by `scale_of`. The variance of a row is that of the value's known standard
    error, on this scale; it is 0 if the error is unknown. An infeasible trial gets one more row: at
    the end of its training, with the worst of all values.

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
    ends = end_times([trial.point for trial in trials], total_kimg)
    rows += [
        (index, float(ends[index]), worst, 0.0)
        for index, trial in enumerate(trials)
        if trial.is_infeasible
    ]
    index, time, value, variance = (np.array(column) for column in zip(*sorted(rows), strict=True))
    return Rows(index, time, value, variance)


def scale_of(trials: Sequence[Trial]) -> Scale:
    """Return the scale of the process for the values of all trials.

    It is logarithmic if all values are clearly positive, compared with their standard errors.
    Otherwise (a kernel distance can be 0 or negative), the unit is `CLEAR` typical standard errors
    of the trials' last values; if none is known, it is the standard deviation of these values.
    """
    values = [
        (value, trial.errors.get(kimg, 0.0))
        for trial in trials
        for kimg, value in trial.values.items()
    ]
    if all(value > CLEAR * error for value, error in values):
        return Scale(None)
    ends = [(trial, max(trial.values)) for trial in trials if trial.values]
    errors = [trial.errors.get(kimg, 0.0) for trial, kimg in ends]
    if any(errors):
        return Scale(CLEAR * float(np.median([error for error in errors if error > 0])))
    last = [trial.values[kimg] for trial, kimg in ends]
    spread, largest = float(np.std(last)), max(abs(value) for value in last)
    return Scale(spread if spread > TINY * largest else largest or 1.0)


def end_times(points: Sequence[Mapping[str, Any]], total_kimg: float) -> Array:
    """Return log(kimg / `total_kimg`) at the end of each point's training.

    It is 0 unless the length is a searched parameter; then `total_kimg` is the longest one. A point
    for which this parameter is inactive counts as the longest one, too.
    """
    lengths = [float(point.get(LENGTH, total_kimg)) for point in points]
    return np.log(np.array(lengths) / total_kimg)


def _thinned(values: Mapping[float, float], count: int) -> dict[float, float]:
    """Return at most `count` of the values: the last one, and others evenly spaced in log kimg."""
    kimgs = sorted(values)
    if len(kimgs) <= count:
        return {kimg: values[kimg] for kimg in kimgs}
    wanted = np.geomspace(kimgs[0], kimgs[-1], count)
    nearest = {min(kimgs, key=lambda kimg: abs(math.log(kimg / goal))) for goal in wanted}
    return {kimg: values[kimg] for kimg in sorted(nearest)}


def with_expected(rows: Rows, trial: Array, time: Array, value: Array) -> Rows:
    """Return `rows` with one more row for each running trial: its expected final value.

    `trial` has the indices of the running trials, `time` the log-times of their ends, and `value`
    their expected final values.
    """
    return Rows(
        np.append(rows.trial, trial),
        np.append(rows.time, time),
        np.append(rows.value, value),
        np.append(rows.variance, np.zeros(len(trial))),
    )
