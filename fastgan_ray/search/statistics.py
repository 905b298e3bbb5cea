"""Arms compared with a baseline: paired intervals, Holm's correction, verdicts in words.

Pure: numbers in, numbers and words out. A pair is whatever two arms share, as (data set, seed);
only the difference within a pair counts, so what a seed or a data set does to both cancels.
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
LEAST_PAIRS = 2  # one difference has no spread


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences, arm less baseline, with Student's interval and p-value."""

    pairs: int
    mean: float | None  # None = no pair
    low: float | None  # None = fewer than two pairs, as for the next two
    high: float | None
    p: float | None  # two-sided; not corrected


@dataclass(frozen=True)
class Comparison:
    """One arm against the baseline.

    `failed`: pairs in which the arm alone ended without a value; `baseline_failed`: the baseline
    alone; `waiting`: pairs in which one of the two has not run. All are left out of `difference`.
    """

    difference: Difference
    p_holm: float | None
    verdict: Verdict
    note: str
    failed: int
    baseline_failed: int
    waiting: int


def mean_and_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and standard deviation (n - 1); None for what too few values leave open."""
    _check_finite(values)
    if not values:
        return None, None
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def paired_difference(differences: Sequence[float], confidence: float = 0.95) -> Difference:
    """Student's paired comparison of differences in any order.

    Differences without any spread have an interval of no width, and p = 1 where they are all 0,
    else 0. ValueError unless all are finite and 0 < confidence < 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1 (got {confidence})")
    mean, sd = mean_and_sd(differences)
    n = len(differences)
    if mean is None or sd is None:
        return Difference(n, mean, None, None, None)
    error = sd / math.sqrt(n)
    reach = float(stdtrit(n - 1, (1 + confidence) / 2)) * error
    t = abs(mean) / error if error else math.inf if mean else 0.0
    return Difference(n, mean, mean - reach, mean + reach, 2 * float(stdtr(n - 1, -t)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the given order: reject those at most the family's level.

    S. Holm, A simple sequentially rejective multiple test procedure, 1979. ValueError unless every
    p-value lies in 0..1.
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values must lie in 0..1 (got {list(p_values)})")
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
    """Every arm but the baseline against it, in order.

    An arm's value by pair is None where it ended without one (diverged), and missing where it has
    not run.
    An arm is better or worse where Holm's p-value, over all arms, is below 1 - confidence. An arm
    without p-value counts as one with p = 1, so that a failed arm does not ease the others' test.
    Whoever failed where the other did not may not win by what remains: then there is no verdict.
    """
    if baseline not in values:
        raise ValueError(f"the baseline {baseline!r} must be one of {list(values)}")
    reference = values[baseline]
    arms = [name for name in values if name != baseline]
    differences = {
        name: paired_difference(_differences(values[name], reference), confidence) for name in arms
    }
    p_values = [differences[name].p for name in arms]
    corrected = holm([1.0 if p is None else p for p in p_values])
    return {
        name: _judge(differences[name], p_holm, values[name], reference, goal, 1 - confidence)
        for name, p_holm in zip(arms, corrected, strict=True)
    }


def _differences(
    arm: Mapping[Pair, float | None], baseline: Mapping[Pair, float | None]
) -> list[float]:
    pairs = ((value, baseline.get(pair)) for pair, value in arm.items())
    return [value - other for value, other in pairs if value is not None and other is not None]


def _judge(
    difference: Difference,
    p_holm: float,
    arm: Mapping[Pair, float | None],
    baseline: Mapping[Pair, float | None],
    goal: Goal,
    level: float,
) -> Comparison:
    failed, baseline_failed = _fails_alone(arm, baseline), _fails_alone(baseline, arm)
    verdict, note = _verdict(difference, p_holm, goal, level)
    if (verdict == "better" and failed) or (verdict == "worse" and baseline_failed):
        who = "it" if failed else "the baseline"
        pairs = failed or baseline_failed
        note = f"{verdict} where both have a value, but {who} failed in {pairs} where not both did"
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
    difference: Difference, p_holm: float, goal: Goal, level: float
) -> tuple[Verdict, str]:
    if difference.mean is None or difference.p is None:
        return "no verdict", f"too few seeds: {difference.pairs} of at least {LEAST_PAIRS} pairs"
    if p_holm >= level:
        return "indistinguishable", ""
    return ("better" if (difference.mean < 0) == (goal == "minimize") else "worse"), ""


def _fails_alone(one: Mapping[Pair, float | None], other: Mapping[Pair, float | None]) -> int:
    lost = (pair for pair, value in one.items() if value is None)
    return sum(not (pair in other and other[pair] is None) for pair in lost)


def _check_finite(values: Sequence[float]) -> None:
    if wrong := [value for value in values if not math.isfinite(value)]:
        raise ValueError(f"values must be finite (got {wrong[0]})")
