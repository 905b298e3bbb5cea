"""Compare arms with a baseline: paired differences, Student's t-intervals, Holm's method.

This module is pure: it receives numbers and returns numbers and verdicts. A pair is two trainings
with the same key, such as (data set, seed). Only the difference within a pair is used, so that
effects of the seed and the data set cancel. SciPy's `ttest_rel` gives the same numbers (a test
compares them), but returns NaN for a single pair and if all differences are 0.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from scipy.special import stdtr, stdtrit

Goal = Literal["minimize", "maximize"]
Verdict = Literal["better", "worse", "indistinguishable", "no verdict"]
Pair = TypeVar("Pair", bound=Hashable)
MIN_PAIRS = 2  # a single difference has no standard deviation


@dataclass(frozen=True)
class Difference:
    """The mean paired difference (arm minus baseline), with its t-interval and p-value."""

    pairs: int
    mean: float | None  # None if there are no pairs
    low: float | None  # low, high and p are None if there are fewer than two pairs
    high: float | None
    p: float | None  # two-sided; not corrected for the number of arms


@dataclass(frozen=True)
class Comparison:
    """The comparison of an arm with the baseline.

    `failed` is the number of pairs in which only the arm ended without a value. `baseline_failed`
    is the number of pairs in which only the baseline ended without a value. `waiting` is the number
    of pairs in which only the arm or only the baseline has run. `difference` uses none of these
    pairs.
    """

    difference: Difference
    p_holm: float | None
    verdict: Verdict
    note: str
    failed: int
    baseline_failed: int
    waiting: int


def mean_and_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the mean and the sample standard deviation (n - 1) of `values`.

    The mean is None without values; the standard deviation is None for fewer than two values. Raise
    ValueError for a value that is not finite.
    """
    _check_finite(values)
    if not values:
        return None, None
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def paired_difference(differences: Sequence[float], confidence: float = 0.95) -> Difference:
    """Apply Student's paired t-test to the differences of all pairs, in any order.

    With fewer than two differences, the interval and p are None. If all differences are equal, the
    interval has width 0. In this case, p is 1 if the differences are 0, else 0. Raise ValueError
    unless all differences are finite and 0 < confidence < 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1 (got {confidence})")
    mean, sd = mean_and_sd(differences)
    n = len(differences)
    if mean is None or sd is None:
        return Difference(n, mean, None, None, None)
    error = sd / math.sqrt(n)
    half_width = float(stdtrit(n - 1, (1 + confidence) / 2)) * error
    t = abs(mean) / error if error else math.inf if mean else 0.0
    return Difference(n, mean, mean - half_width, mean + half_width, 2 * float(stdtr(n - 1, -t)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values by Holm's step-down method (1979); return them in the same order.

    If you reject all hypotheses with a corrected p-value below alpha, the probability of at least
    one false rejection is at most alpha. Raise ValueError unless every p-value is in 0..1.
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values must be from 0 to 1 (got {list(p_values)})")
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def compare(
    values: Mapping[str, Mapping[Pair, float | None]],
    baseline: str,
    goal: Goal,
    confidence: float = 0.95,
) -> dict[str, Comparison]:
    """Compare every arm with the baseline; return {arm: comparison} without the baseline.

    `values` maps each arm to {key: value}, with a key such as (data set, seed) for each training.
    Two trainings with the same key are a pair. The value is None if the training ended without a
    value (for example, because it diverged). A key is missing if its training has not run.

    The verdict is "better" or "worse" if the p-value is below 1 - confidence. The p-values are
    corrected for the number of arms. An arm without a p-value is counted with p = 1, because a
    failed arm must not make the test of the other arms easier.

    Failures are left out of the mean, so an arm or the baseline may look better because of its
    failures. There is no verdict if the arm looks better, but only the arm failed in some pairs.
    There is also no verdict if the baseline looks better, but only the baseline failed in some
    pairs.

    Raise ValueError if the baseline is missing.
    """
    _require_baseline(values, baseline)
    differences = {
        name: paired_difference(_differences(arm, values[baseline]), confidence)
        for name, arm in values.items()
        if name != baseline
    }
    return compare_differences(differences, values, baseline, goal, confidence)


def no_verdict(note: str) -> Comparison:
    """Return the comparison of an arm that is not compared with the baseline; `note` says why."""
    return Comparison(
        difference=paired_difference([]),
        p_holm=None,
        verdict="no verdict",
        note=note,
        failed=0,
        baseline_failed=0,
        waiting=0,
    )


def compare_differences(
    differences: Mapping[str, Difference],
    values: Mapping[str, Mapping[Pair, float | None]],
    baseline: str,
    goal: Goal,
    confidence: float = 0.95,
    unit: str = "pairs",
) -> dict[str, Comparison]:
    """Correct the p-values for the number of arms, and return the comparison of each arm.

    `differences` has an entry for each arm except the baseline. `values` is used only to count
    failed and waiting trainings. `unit` is the word for pairs in messages, e.g. "data sets".
    """
    _require_baseline(values, baseline)
    p_values = [difference.p for difference in differences.values()]
    corrected = holm([1.0 if p is None else p for p in p_values])
    return {
        name: _compare_arm(
            difference, p_holm, values[name], values[baseline], goal, 1 - confidence, unit
        )
        for (name, difference), p_holm in zip(differences.items(), corrected, strict=True)
    }


def _require_baseline(values: Mapping[str, object], baseline: str) -> None:
    if baseline not in values:
        raise ValueError(f"the baseline {baseline!r} must be one of {list(values)}")


def _differences(
    arm: Mapping[Pair, float | None], baseline: Mapping[Pair, float | None]
) -> list[float]:
    pairs = ((value, baseline.get(pair)) for pair, value in arm.items())
    return [value - other for value, other in pairs if value is not None and other is not None]


def _compare_arm(
    difference: Difference,
    p_holm: float,
    arm: Mapping[Pair, float | None],
    baseline: Mapping[Pair, float | None],
    goal: Goal,
    level: float,
    unit: str,
) -> Comparison:
    failed, baseline_failed = _fails_alone(arm, baseline), _fails_alone(baseline, arm)
    verdict, note = _verdict(difference, p_holm, goal, level, unit)
    if (verdict == "better" and failed) or (verdict == "worse" and baseline_failed):
        name, count = ("the arm", failed) if failed else ("the baseline", baseline_failed)
        pairs = "pair" if count == 1 else "pairs"
        note = (
            f"{verdict} in the pairs without a failure, but in {count} {pairs} only {name} failed"
        )
        verdict = "no verdict"
    return Comparison(
        difference=difference,
        p_holm=None if difference.p is None else p_holm,
        verdict=verdict,
        note=note,
        failed=failed,
        baseline_failed=baseline_failed,
        waiting=len(arm.keys() ^ baseline.keys()),
    )


def _verdict(
    difference: Difference, p_holm: float, goal: Goal, level: float, pairs_or_sets: str
) -> tuple[Verdict, str]:
    if difference.mean is None or difference.p is None:
        seeds_or_sets = "seeds" if pairs_or_sets == "pairs" else pairs_or_sets
        return "no verdict", (
            f"too few {seeds_or_sets}: at least {MIN_PAIRS} {pairs_or_sets} with values are "
            f"needed (got {difference.pairs})"
        )
    if p_holm >= level:
        return "indistinguishable", ""
    return ("better" if (difference.mean < 0) == (goal == "minimize") else "worse"), ""


def _fails_alone(arm: Mapping[Pair, float | None], other: Mapping[Pair, float | None]) -> int:
    failed = (pair for pair, value in arm.items() if value is None)
    return sum(not (pair in other and other[pair] is None) for pair in failed)


def _check_finite(values: Sequence[float]) -> None:
    if wrong := [value for value in values if not math.isfinite(value)]:
        raise ValueError(f"values must be finite (got {wrong[0]})")
