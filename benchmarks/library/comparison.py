"""The tables of `compare.py`: regret and cost of ways to search, from the curves of their searches.

A curve has the regret in percent after each cost of `COSTS`. The curves of a set and a way are an
array (seeds, costs), with NaN where a way was not run with a seed. A seed is the same task for all
ways, so differences are between pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from search_task import BUDGET

Array: TypeAlias = NDArray[np.float64]
Curves: TypeAlias = Mapping[tuple[str, str], Array]  # by set and way

COSTS = np.arange(0.5, BUDGET + 0.25, 0.5)
MARKS = (8.0, 16.0, 32.0)
RANDOM = "random, none"
DEFAULT = "curves, none, expected"  # of the presets, with recordings
FORMER_DEFAULT = "tpe, asha 3"
FLOOR = 0.1  # percent; a regret below counts as this much in a ratio
ERRORS = 2.0  # a difference is beyond its error if it is larger than so many standard errors


class Mean(NamedTuple):
    """A mean over seeds and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        """Return both, in percent."""
        return f"{self.value:.1f} ± {self.error:.1f}"


def mean(values: Array) -> Mean:
    """Return the mean over the seeds, without those that have NaN; infinite if a value is."""
    values = values[~np.isnan(values)]
    if not np.isfinite(values).all():
        return Mean(math.inf, math.inf)
    error = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return Mean(float(values.mean()), error)


def at(curves: Array, mark: float) -> Array:
    """Return the regret of each seed after a cost."""
    return np.asarray(curves[:, int(np.searchsorted(COSTS, mark))])


def reach(curve: Array, goal: float) -> float:
    """Return the first cost at which a curve of regrets is at most `goal`; infinite if at none."""
    return next((float(c) for c, r in zip(COSTS, curve, strict=True) if r <= goal), math.inf)


def above(curves: Array, other: Array, mark: float) -> bool:
    """Return whether the regret is above another way's, by more than the error of the mean."""
    first, second = at(curves, mark), at(other, mark)
    pairs = ~(np.isnan(first) | np.isnan(second))
    first, second = first[pairs], second[pairs]
    if not np.isfinite(second).all():
        return False
    if not np.isfinite(first).all():
        return True
    difference = mean(first - second)
    return difference.value > ERRORS * difference.error


def best_anchor(curves: Curves, name: str, anchors: Iterable[str], mark: float) -> str:
    """Return the anchor with the least mean regret on a set after a cost; empty without one."""
    return min(anchors, key=lambda way: mean(at(curves[name, way], mark)).value, default="")


def worse_on(
    curves: Curves, names: Sequence[str], way: str, others: Mapping[tuple[str, float], str]
) -> str:
    """Return the sets and costs at which a way is above another one, which `others` has."""
    found = []
    for name in names:
        marks = [
            f"{mark:g}"
            for mark in MARKS
            if (other := others[name, mark]) and above(curves[name, way], curves[name, other], mark)
        ]
        found += [f"{name} at {', '.join(marks)}"] if marks else []
    return "; ".join(found) or "none"


def ratio(curves: Curves, name: str, way: str, mark: float) -> float:
    """Return the mean regret on a set after a cost, relative to random search with these seeds."""
    mine, random = (at(curves[name, one], mark) for one in (way, RANDOM))
    return max(mean(mine).value, FLOOR) / max(mean(random[~np.isnan(mine)]).value, FLOOR)


def geometric(values: Sequence[float]) -> float:
    """Return the geometric mean of positive values."""
    return math.exp(float(np.mean(np.log(values))))


def tables(
    curves: Curves, names: Sequence[str], ways: Sequence[str], anchors: Sequence[str]
) -> list[str]:
    """Return the tables by set and of all sets as Markdown. `RANDOM` must be among the ways."""
    return [*_by_set(curves, names, ways), *_overall(curves, names, ways, anchors)]


def _shares(curves: Curves, name: str, ways: Sequence[str]) -> dict[str, float]:
    """Return by way the cost at which the median regret is down to random search's, as a share."""
    goal = float(np.nanmedian(curves[name, RANDOM][:, -1]))
    return {way: reach(np.nanmedian(curves[name, way], axis=0), goal) / BUDGET for way in ways}


def _by_set(curves: Curves, names: Sequence[str], ways: Sequence[str]) -> list[str]:
    lines = [
        "\nRegret in percent after a cost in trainings, the mean over seeds ± its standard error; "
        "and the cost at which the median regret is down to that of random search after "
        f"{BUDGET:g} trainings, as a share of {BUDGET:g}.\n",
        "| set | way | " + " | ".join(f"at {mark:g}" for mark in MARKS) + " | cost |",
        "|---" * (len(MARKS) + 3) + "|",
    ]
    for name in names:
        for way, share in _shares(curves, name, ways).items():
            regrets = " | ".join(str(mean(at(curves[name, way], mark))) for mark in MARKS)
            lines.append(f"| {name} | {_title(way)} | {regrets} | {share:.0%} |")
    return lines


def _overall(
    curves: Curves, names: Sequence[str], ways: Sequence[str], anchors: Sequence[str]
) -> list[str]:
    ratios = {
        way: {mark: [ratio(curves, name, way, mark) for name in names] for mark in MARKS}
        for way in ways
    }
    order = sorted(ways, key=lambda way: geometric(ratios[way][MARKS[-1]]))
    pairs = [(name, mark) for name in names for mark in MARKS]
    random = dict.fromkeys(pairs, RANDOM)
    best = {(name, mark): best_anchor(curves, name, anchors, mark) for name, mark in pairs}
    shares = {name: _shares(curves, name, ways) for name in names}
    lines = [
        "\nOver the sets: the mean regret relative to that of random search (geometric mean, and "
        f"the worst set; a regret below {FLOOR:g} % counts as {FLOOR:g} %), the cost as above, "
        "and the sets on which the regret is above that of random search, or of the anchor that is "
        f"best there, by more than {ERRORS:g} standard errors of the difference. Places by the "
        f"regret at {MARKS[-1]:g}. The default is the sampler of the presets, with the recordings "
        "of all other sets, as the presets of 16 to 64 px have them, and without `until: settled` "
        "(settled.md). With `expected`, the result is the configuration with the best expected "
        "value (as in a confirmation), not that with the best value.\n",
        "| place | way | "
        + " | ".join(f"at {mark:g} (worst)" for mark in MARKS)
        + " | cost (worst) | above random | above the best anchor |",
        "|---" * (len(MARKS) + 5) + "|",
    ]
    for place, way in enumerate(order, start=1):
        costs = [shares[name][way] for name in names]
        cells = [f"{geometric(ratios[way][m]):.2f} ({max(ratios[way][m]):.2f})" for m in MARKS]
        cells.append(f"{geometric(costs):.0%} ({max(costs):.0%})")
        cells += [worse_on(curves, names, way, others) for others in (random, best)]
        lines.append(f"| {place} | {_title(way)} | {' | '.join(cells)} |")
    anchors_at_end = {best[name, MARKS[-1]] for name in names} - {""}
    if anchors_at_end:
        lines.append(f"\nThe best anchor at {MARKS[-1]:g}: {', '.join(sorted(anchors_at_end))}.")
    return lines


def _title(way: str) -> str:
    notes = {DEFAULT: "default", FORMER_DEFAULT: "the default before"}
    return f"{way} ({notes[way]})" if way in notes else way
