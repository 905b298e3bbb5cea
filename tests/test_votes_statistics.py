"""The statistics of votes against slow and obvious versions of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import binomtest

from fastgan_ray.search.votes import Share, Vote, agreement, fit, share_for, wins


def slow_fit(votes, n, centre, prior=1.0):
    """The most likely strengths, vote by vote, by a general optimiser that knows no derivative."""

    def cost(strengths):
        total = 0.0
        for first, second, score in votes:
            p = 1 / (1 + math.exp(strengths[second] - strengths[first]))
            total -= score * math.log(p) + (1 - score) * math.log(1 - p)
        for strength in strengths:
            p = 1 / (1 + math.exp(-strength))
            total -= prior * (0.5 * math.log(p) + 0.5 * math.log(1 - p))
        return total

    options = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 100_000, "maxfev": 100_000}
    best = minimize(cost, np.zeros(n), method="Nelder-Mead", options=options).x
    return best - np.mean([best[item] for item in centre]), cost, best


def random_votes(rng, n, count, truth=None):
    truth = np.zeros(n) if truth is None else truth
    votes = []
    for _ in range(count):
        first, second = rng.choice(n, 2, replace=False)
        p = 1 / (1 + math.exp(truth[second] - truth[first]))
        score = 0.5 if rng.random() < 0.1 else float(rng.random() < p)
        votes.append(Vote(int(first), int(second), score))
    return votes


@pytest.mark.parametrize("seed", range(4))
def test_strengths_are_those_of_an_obvious_maximum_likelihood(seed):
    rng = np.random.default_rng(seed)
    votes = random_votes(rng, 4, 40, np.array([1.0, 0.0, -0.5, 3.0]))
    strengths = fit(wins(votes, 4), centre=[0, 1, 2])
    expected, _, _ = slow_fit(votes, 4, [0, 1, 2])
    np.testing.assert_allclose(strengths.values, expected, atol=1e-5)
    assert strengths.values[:3].mean() == pytest.approx(0, abs=1e-12)


def test_errors_are_from_the_curvature_of_the_likelihood():
    votes = random_votes(np.random.default_rng(0), 3, 30)
    strengths = fit(wins(votes, 3), centre=[0, 1, 2])
    _, cost, best = slow_fit(votes, 3, [0, 1, 2])
    step, curvature = 1e-3, np.zeros((3, 3))
    for i, j in itertools.product(range(3), repeat=2):
        corners = [
            (a, b, cost(best + step * (a * np.eye(3)[i] + b * np.eye(3)[j])))
            for a in (1, -1)
            for b in (1, -1)
        ]
        curvature[i, j] = sum(a * b * value for a, b, value in corners) / (4 * step**2)
    covariance = np.linalg.inv(curvature)
    mean = covariance.mean()
    for i in range(3):
        expected = covariance[i, i] - 2 * covariance[i].mean() + mean
        assert strengths.covariance[i, i] == pytest.approx(expected, rel=1e-3)
    low, high = strengths.difference(0, 2)
    variance = covariance[0, 0] + covariance[2, 2] - 2 * covariance[0, 2]
    assert high - low == pytest.approx(2 * 1.959964 * math.sqrt(variance), rel=1e-3)


def test_two_items_have_the_textbooks_odds_and_error():
    strengths = fit(np.array([[0.0, 30.0], [10.0, 0.0]]), centre=[0, 1], prior=1e-9)
    low, high = strengths.difference(0, 1)
    assert (low + high) / 2 == pytest.approx(math.log(3), abs=1e-6)
    assert high - low == pytest.approx(2 * 1.959964 * math.sqrt(1 / 30 + 1 / 10), rel=1e-5)


def test_an_item_that_wins_always_has_a_finite_strength_and_one_without_votes_a_wide_interval():
    table = np.zeros((3, 3))
    table[0, 1] = 12
    strengths = fit(table, centre=[0, 1, 2])
    assert np.isfinite(strengths.values).all() and strengths.values[0] > strengths.values[1]
    widths = np.diff(strengths.intervals(), axis=1)[:, 0]
    assert widths[2] == widths.max()


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng, truth = np.random.default_rng(1), np.array([0.8, 0.2, -0.2, -0.8])
    covered = 0
    for _ in range(250):
        strengths = fit(wins(random_votes(rng, 4, 120, truth), 4), centre=range(4))
        low, high = strengths.difference(0, 3)
        covered += low <= 1.6 <= high
    assert 0.90 <= covered / 250 <= 0.99


def test_ties_and_the_order_of_the_two_sides_do_not_matter():
    votes = [Vote(0, 1, 1.0), Vote(1, 0, 0.5), Vote(0, 1, 0.0)]
    swapped = [Vote(second, first, 1 - score) for first, second, score in votes]
    np.testing.assert_array_equal(wins(votes, 2), wins(swapped, 2))
    assert fit(wins(votes, 2), centre=[0, 1]).values == pytest.approx([0, 0])


def test_a_table_that_is_none_is_refused():
    for table, prior in ((np.zeros((2, 3)), 1.0), (np.zeros((2, 2)), 0.0)):
        with pytest.raises(ValueError, match="table must be square"):
            fit(table, [0], prior)


@pytest.mark.parametrize(("count", "of"), [(0, 0), (0, 5), (5, 5), (7, 9), (30, 41)])
def test_shares_against_scipy(count, of):
    share = Share(count, of)
    if of == 0:
        assert share.chance() == 1.0 and share.interval() == (0.0, 1.0)
        return
    test = binomtest(count, of, alternative="greater")
    assert share.chance() == pytest.approx(test.pvalue)
    interval = binomtest(count, of).proportion_ci(0.95, method="exact")
    assert share.interval() == pytest.approx((interval.low, interval.high))


def test_agreement_counts_the_votes_for_the_better_value():
    votes = [
        Vote(0, 1, 1.0),  # agrees: 0 is lower
        Vote(1, 0, 1.0),  # does not
        Vote(2, 0, 0.0),  # agrees
        Vote(0, 1, 0.5),  # could not tell
        Vote(0, 3, 1.0),  # 3 has no value
        Vote(1, 2, 1.0),  # the same value
    ]
    values = {0: 1.0, 1: 2.0, 2: 2.0}
    assert agreement(votes, values, minimize=True) == (2, 3)
    assert agreement(votes, values, minimize=False) == (1, 3)
    assert share_for(votes, 0) == (3, 4) and share_for(votes, 3) == (0, 1)
