"""Verdicts on arms: against scipy, a textbook example, and simulated cases with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from fastgan_ray.search.statistics import compare, holm, mean_and_sd, paired_difference

FAMILIES = 1000
ARMS = ("a", "b", "c", "d")
finite = st.floats(-1e6, 1e6)


def table(values: np.ndarray) -> dict[str, dict[int, float | None]]:
    """Arms in rows, pairs in columns; the first row is the baseline. NaN = a failed cell."""
    names = ("base", *ARMS)[: len(values)]
    return {
        name: {pair: None if np.isnan(v) else float(v) for pair, v in enumerate(row)}
        for name, row in zip(names, values, strict=True)
    }


@pytest.mark.parametrize("pairs", [2, 3, 5, 30])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_interval_and_p_value_are_those_of_scipy(pairs, shift):
    rng = np.random.default_rng(pairs)
    base = rng.normal(40, 5, pairs)
    arm = base + rng.normal(shift, 1, pairs)
    ours = paired_difference(list(arm - base), 0.9)
    theirs = scipy.stats.ttest_rel(arm, base)
    interval = theirs.confidence_interval(0.9)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-10)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), rel=1e-10)
    assert ours.mean == pytest.approx((arm - base).mean()) and ours.pairs == pairs


def test_mean_and_sd():
    assert mean_and_sd([]) == (None, None)
    assert mean_and_sd([4.0]) == (4.0, None)
    assert mean_and_sd([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]) == (5.0, pytest.approx(2.13809))
    with pytest.raises(ValueError, match="must be finite"):
        mean_and_sd([1.0, float("nan")])


def test_differences_without_spread():
    same = paired_difference([0.0, 0.0, 0.0])
    assert (same.low, same.high, same.p) == (0.0, 0.0, 1.0)
    shifted = paired_difference([-2.0, -2.0])
    assert (shifted.low, shifted.high, shifted.p) == (-2.0, -2.0, 0.0)
    with pytest.raises(ValueError, match="confidence"):
        paired_difference([1.0, 2.0], 95)


def test_holm_textbook_example():
    # Four hypotheses; at 0.05 those with 0.005 and 0.01 are rejected, the other two are not.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.2]) == [0.2] and holm([0.9, 0.8]) == [1.0, 1.0]
    with pytest.raises(ValueError, match="must be from 0 to 1"):
        holm([1.2])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni(p_values):
    corrected = holm(p_values)
    for p, ours in zip(p_values, corrected, strict=True):
        assert p <= ours <= min(1.0, len(p_values) * p)
    order = np.argsort(p_values, kind="stable")
    assert list(np.take(corrected, order)) == sorted(corrected)


@given(st.lists(st.tuples(finite, finite), min_size=2, max_size=10))
def test_better_and_worse_change_places_with_the_goal_and_with_the_sides(pairs):
    arms = {"a": dict(enumerate(a for a, _ in pairs)), "b": dict(enumerate(b for _, b in pairs))}
    opposite = {"better": "worse", "worse": "better", "indistinguishable": "indistinguishable"}
    verdict = compare(arms, "b", "minimize")["a"].verdict
    assert compare(arms, "b", "maximize")["a"].verdict == opposite[verdict]
    assert compare(arms, "a", "minimize")["b"].verdict == opposite[verdict]


def simulated(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Simulate an ablation of five seeds in which no arm differs from the baseline."""
    seeds = rng.normal(0, 10, 5)  # a seed has the same effect on all arms
    noise = rng.normal(0, 2, (len(ARMS) + 1, 5))
    if kind == "heavy tails":
        noise = rng.standard_t(3, noise.shape)
    if kind == "data sets":  # two seeds on each of five, which differ in level and in spread
        levels = np.repeat([10.0, 30.0, 40.0, 80.0, 120.0], 2)
        return levels + levels / 10 * rng.normal(0, 1, (len(ARMS) + 1, 10))
    if kind == "failures":
        noise[rng.random(noise.shape) < 0.15] = np.nan
    return 40 + seeds + noise


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "data sets", "failures"])
def test_equal_arms_are_rarely_called_different(kind):
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(FAMILIES):
        comparisons = compare(table(simulated(kind, rng)), "base", "minimize")
        wrong += any(
            comparison.verdict in ("better", "worse") for comparison in comparisons.values()
        )
    assert wrong <= 0.05 * FAMILIES


def test_a_large_difference_is_found_and_no_other():
    rng = np.random.default_rng(2)
    correct, wrong = 0, 0
    for _ in range(200):
        values = simulated("normal", rng)
        values[1] -= 20
        values[2] += 20
        comparisons = compare(table(values), "base", "minimize")
        verdicts = {arm: comparison.verdict for arm, comparison in comparisons.items()}
        correct += (verdicts["a"], verdicts["b"]) == ("better", "worse")
        wrong += any(verdicts[arm] != "indistinguishable" for arm in ("c", "d"))
    assert correct >= 195
    assert wrong <= 10


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(FAMILIES):
        difference = paired_difference(list(rng.normal(-3, 2, 4)))
        held += difference.low <= -3 <= difference.high
    assert abs(held / FAMILIES - 0.95) < 3 * np.sqrt(0.95 * 0.05 / FAMILIES)


def test_too_few_seeds_have_no_verdict_and_say_so():
    arms = {"base": {0: 5.0}, "a": {0: 1.0}, "b": {}}
    single, none = compare(arms, "base", "minimize").values()
    assert single.verdict == none.verdict == "no verdict"
    assert single.note == "too few seeds: at least 2 pairs with values are needed (got 1)"
    assert none.note == "too few seeds: at least 2 pairs with values are needed (got 0)"
    assert single.difference.mean == -4.0 and single.p_holm is None
    assert none.waiting == 1


def test_an_arm_that_failed_wins_nothing_by_what_remains():
    base = {seed: 40.0 + seed for seed in range(5)}
    good = {seed: 20.0 + seed % 2 for seed in range(5)}
    survivor = {**good, 4: None}
    arms = {"base": base, "good": good, "survivor": survivor}
    comparisons = compare(arms, "base", "minimize")
    assert comparisons["good"].verdict == "better"
    assert comparisons["survivor"].verdict == "no verdict"
    assert comparisons["survivor"].note == (
        "better in the pairs without a failure, but in 1 pair only the arm failed"
    )
    assert (comparisons["survivor"].failed, comparisons["survivor"].difference.pairs) == (1, 4)
    # It may well be worse.
    assert compare(arms, "base", "maximize")["survivor"].verdict == "worse"


def test_a_baseline_that_failed_makes_nothing_worse():
    arms = {
        "base": {0: 1.0, 1: 1.1, 2: None, 3: 0.9},
        "a": {0: 9.0, 1: 9.2, 2: 9.1, 3: 9.3},
        "b": {0: 9.0, 1: 9.2, 2: None, 3: 9.3},
    }
    comparisons = compare(arms, "base", "minimize")
    assert (comparisons["a"].verdict, comparisons["a"].baseline_failed) == ("no verdict", 1)
    assert "in 1 pair only the baseline failed" in comparisons["a"].note
    assert (comparisons["b"].verdict, comparisons["b"].baseline_failed) == (
        "worse",
        0,
    )  # both failed there


def test_what_has_not_run_yet_is_left_out_and_counted():
    arms = {"base": {0: 1.0, 1: 2.0, 2: 3.0}, "a": {0: 1.0, 1: 2.1, 5: 7.0}}
    comparison = compare(arms, "base", "minimize")["a"]
    assert (comparison.difference.pairs, comparison.waiting, comparison.failed) == (2, 2, 0)


def test_an_arm_without_p_value_eases_nobodys_test():
    base = dict.fromkeys(range(4), 40.0)
    near = dict(enumerate([38.0, 39.0, 37.5, 38.5]))
    alone = compare({"base": base, "a": near}, "base", "minimize")["a"]
    beside = compare({"base": base, "a": near, "x": dict.fromkeys(range(4))}, "base", "minimize")
    assert beside["a"].p_holm == pytest.approx(2 * alone.p_holm)
    assert beside["x"].verdict == "no verdict" and beside["x"].failed == 4


def test_the_baseline_must_be_there():
    with pytest.raises(ValueError, match="must be one of"):
        compare({"a": {}}, "base", "minimize")
