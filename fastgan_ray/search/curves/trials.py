"""The evaluations of a search's trials in the form that the Gaussian process needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgan_ray.search.curves.kernel import Array
from fastgan_ray.search.curves.posterior import Rows

MAX_ROWS = 600
LEAST_ROWS = 2  # that a trial keeps


@dataclass(frozen=True)
class Trial:
    """A trial: its point, its values by kimg (lower is better), and whether it is running.

    `is_infeasible` is true if the trial diverged or ran out of memory.
    """

    point: Mapping[str, Any]
    values: Mapping[float, float]
    is_running: bool = False
    is_infeasible: bool = False


def rows_of(trials: Sequence[Trial], total_kimg: float, max_rows: int = MAX_ROWS) -> Rows:
    """Return the evaluations of all trials, with scaled values and log(kimg / `total_kimg`).

    Values are scaled by the logarithm. If any value is zero or negative (a kernel distance can be),
    all values are divided by their standard deviation instead. An infeasible trial gets one more
    row: at the end of a training, with the worst of all values.

    The result has the last evaluation of each trial, and some of its earlier evaluations. At most
    `max_rows` / (number of trials) evaluations of a trial are used, or 2 if this limit is below 2.
    """
    per_trial = max(LEAST_ROWS, max_rows // max(1, len(trials)))
    kept = [_thinned(trial.values, per_trial) for trial in trials]
    scale = _scale([value for values in kept for value in values.values()])
    scaled = [{kimg: scale(value) for kimg, value in values.items()} for values in kept]
    worst = max((value for values in scaled for value in values.values()), default=0.0)
    rows = [
        (index, math.log(kimg / total_kimg), value)
        for index, values in enumerate(scaled)
        for kimg, value in values.items()
    ]
    rows += [(index, 0.0, worst) for index, trial in enumerate(trials) if trial.is_infeasible]
    index, time, value = (np.array(column) for column in zip(*sorted(rows), strict=True))
    return Rows(index, time, value, np.zeros(len(rows)))


def _thinned(values: Mapping[float, float], count: int) -> dict[float, float]:
    """Return at most `count` of the values: the last one, and others evenly spaced in log kimg."""
    kimgs = sorted(values)
    if len(kimgs) <= count:
        return {kimg: values[kimg] for kimg in kimgs}
    wanted = np.geomspace(kimgs[0], kimgs[-1], count)
    nearest = {min(kimgs, key=lambda kimg: abs(math.log(kimg / goal))) for goal in wanted}
    return {kimg: values[kimg] for kimg in sorted(nearest)}


def _scale(values: Sequence[float]) -> Any:  # noqa: ANN401 - a function of a number
    if all(value > 0 for value in values):
        return math.log
    spread = float(np.std(values)) or 1.0
    return lambda value: value / spread


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
