"""Comparisons over several data sets: the formula, and simulated cases with a known answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from fastgan_ray.search.data_sets import compare_on_sets
from fastgan_ray.search.statistics import compare

ARMS = ("base", "a", "b", "c", "d")
FAMILIES = 1000


def values_from(numbers: np.ndarray) -> dict[str, dict[tuple[str, int], float]]:
    """{arm: {(set, seed): value}} of an array of arms, sets and seeds."""
    return {
        name: {
            (f"set {data}", seed): float(value)
            for data, of_set in enumerate(of_arm)
            for seed, value in enumerate(of_set)
        }
        for name, of_arm in zip(ARMS, numbers, strict=False)
    }


def simulated(
    rng: np.random.Generator, arms: int, sets: int, seeds: int, between_sets: float
) -> np.ndarray:
    """Values of arms without a true mean effect: sets differ by orders of magnitude."""
    level = np.array([10.0, 150.0, 40.0, 300.0, 25.0])[:sets, None]
    effects = between_sets * rng.standard_normal((arms, sets, 1))
    effects[0] = 0
    noise = 0.05 * rng.standard_normal((arms, sets, seeds))
    return level * np.exp(effects + noise)


def test_the_change_over_sets_is_a_t_test_of_the_mean_log_ratios_of_the_sets():
    numbers = simulated(np.random.default_rng(0), 2, 4, 3, 0.1)
    over_sets, on_set = compare_on_sets(values_from(numbers), "base", "minimize", 0.9)
    ratios = np.log(numbers[1] / numbers[0])
    theirs = scipy.stats.ttest_1samp(ratios.mean(1), 0)
    interval = theirs.confidence_interval(0.9)
    ours = over_sets["a"].difference
    assert (ours.pairs, ours.p) == (4, pytest.approx(theirs.pvalue, rel=1e-10))
    assert ours.mean == pytest.approx(100 * math.expm1(ratios.mean()))
    assert ours.low == pytest.approx(100 * math.expm1(interval.low))
    assert ours.high == pytest.approx(100 * math.expm1(interval.high))
    of_first = on_set["a"]["set 0"].difference
    assert of_first.pairs == 3
    assert of_first.p == pytest.approx(scipy.stats.ttest_1samp(ratios[0], 0).pvalue, rel=1e-10)


def test_a_set_with_large_values_does_not_outweigh_the_others():
    numbers = np.ones((2, 3, 2)) * np.array([10.0, 12.0, 400.0])[:, None]
    numbers[1] *= np.array([0.5, 0.5, 1.2])[:, None]  # better on two sets, worse on the large one
    over_sets, _ = compare_on_sets(values_from(numbers), "base", "minimize")
    assert over_sets["a"].difference.mean == pytest.approx(100 * (0.3 ** (1 / 3) - 1))
    pooled = compare(values_from(numbers), "base", "minimize")["a"].difference
    assert pooled.mean is not None and pooled.mean > 0


def test_values_that_are_not_positive_are_compared_by_shares_of_the_baseline():
    values = {
        "base": {("x", 0): 0.02, ("x", 1): 0.04, ("y", 0): 0.5, ("y", 1): 0.5},
        "a": {("x", 0): -0.01, ("x", 1): 0.01, ("y", 0): 0.25, ("y", 1): 0.35},
    }
    over_sets, on_set = compare_on_sets(values, "base", "minimize")
    assert on_set["a"]["x"].difference.mean == pytest.approx(-100)
    assert on_set["a"]["y"].difference.mean == pytest.approx(-40)
    assert over_sets["a"].difference.mean == pytest.approx(-70)


def test_one_set_gives_no_verdict_over_sets_and_failures_win_nothing():
    numbers = simulated(np.random.default_rng(1), 2, 3, 3, 0.0)
    numbers[1] *= 0.5
    one_set = {
        arm: {k: v for k, v in of.items() if k[0] == "set 0"}
        for arm, of in values_from(numbers).items()
    }
    over_sets, on_set = compare_on_sets(one_set, "base", "minimize")
    assert over_sets["a"].verdict == "no verdict"
    assert (
        over_sets["a"].note
        == "too few data sets: at least 2 data sets with values are needed (got 1)"
    )
    assert on_set["a"]["set 0"].verdict == "better"
    failing = values_from(numbers) | {"a": values_from(numbers)["a"] | {("set 1", 0): None}}
    over_sets, on_set = compare_on_sets(failing, "base", "minimize")
    assert (
        over_sets["a"].verdict == "no verdict"
        and "in 1 pair only the arm failed" in over_sets["a"].note
    )
    assert on_set["a"]["set 1"].verdict == "no verdict" and on_set["a"]["set 2"].failed == 0


def test_goals_change_better_and_worse():
    numbers = simulated(np.random.default_rng(2), 2, 4, 3, 0.0)
    numbers[1] *= 0.5
    values = values_from(numbers)
    assert compare_on_sets(values, "base", "minimize")[0]["a"].verdict == "better"
    assert compare_on_sets(values, "base", "maximize")[0]["a"].verdict == "worse"


@pytest.mark.parametrize("between_sets", [0.0, 0.2])
def test_a_family_of_arms_without_effect_gets_a_verdict_in_at_most_five_percent(between_sets):
    """Pooling the seeds of all sets would be wrong far more often if sets differ (see below)."""
    rng = np.random.default_rng(3)
    wrong = pooled_wrong = 0
    for _ in range(FAMILIES):
        values = values_from(simulated(rng, 5, 5, 3, between_sets))
        over_sets, _ = compare_on_sets(values, "base", "minimize")
        wrong += any(arm.verdict != "indistinguishable" for arm in over_sets.values())
        logs = {arm: {k: math.log(v) for k, v in of.items()} for arm, of in values.items()}
        pooled = compare(logs, "base", "minimize")
        pooled_wrong += any(arm.verdict != "indistinguishable" for arm in pooled.values())
    assert wrong / FAMILIES <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / FAMILIES)
    if between_sets:
        assert pooled_wrong / FAMILIES > 0.2
