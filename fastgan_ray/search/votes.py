"""Compute statistics of blind votes: strengths (Bradley-Terry), p-values, agreement with a metric.

This module is pure: it receives numbers and returns numbers. A vote compares two items, which have
numbers from 0 to n - 1. The score of a vote is 1 if the voter preferred the first item, 0 if the
voter preferred the second item, and 0.5 if the voter was undecided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc, betaincinv, expit, ndtri

Array = npt.NDArray[np.float64]

CONFIDENCE = 0.95
PRIOR = 1.0  # votes, see `fit`
STEPS = 100  # Newton's method needs about ten
SMALL = 1e-10


class Vote(NamedTuple):
    """A vote between the items `first` and `second`.

    `score` is 1 for the first item, 0 for the second item, and 0.5 for an undecided vote.
    """

    first: int
    second: int
    score: float


class Strengths(NamedTuple):
    """The strengths (n,) of n items, and the covariance (n, n) of their errors.

    If the strengths of two items differ by d, a voter prefers the stronger item with the
    probability 1 / (1 + exp(-d)).
    """

    values: Array
    covariance: Array

    def intervals(self, confidence: float = CONFIDENCE) -> Array:
        """Return the confidence interval (lower end, upper end) of each strength, (n, 2)."""
        half = _z(confidence) * np.sqrt(np.diag(self.covariance))
        return np.stack([self.values - half, self.values + half], axis=1)

    def difference(self, a: int, b: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return the confidence interval of the strength of `a` minus the strength of `b`."""
        c = self.covariance
        half = _z(confidence) * float(np.sqrt(c[a, a] + c[b, b] - 2 * c[a, b]))
        middle = float(self.values[a] - self.values[b])
        return middle - half, middle + half


class Share(NamedTuple):
    """The number of votes that were won (`won`), out of a number of decided votes (`of`)."""

    won: int
    of: int

    def chance(self) -> float:
        """Return the one-sided p-value: P(at least `won` heads in `of` tosses of a fair coin)."""
        return float(bdtrc(self.won - 1, self.of, 0.5)) if self.won > 0 else 1.0

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return the confidence interval of the share `won` / `of` (Clopper and Pearson 1934).

        Without votes, the interval is from 0 to 1.
        """
        tail, missing = (1 - confidence) / 2, self.of - self.won
        low = float(betaincinv(self.won, missing + 1, tail)) if self.won else 0.0
        high = float(betaincinv(self.won + 1, missing, 1 - tail)) if missing else 1.0
        return low, high


def wins(votes: Sequence[Vote], n: int) -> Array:
    """Return a table (n, n) of votes: row i, column j has the number of votes for i against j.

    An undecided vote counts as half a vote for each of the two items.
    """
    table = np.zeros((n, n))
    for first, second, score in votes:
        table[first, second] += score
        table[second, first] += 1 - score
    return table


def fit(table: Array, centre: Sequence[int], prior: float = PRIOR) -> Strengths:
    """Fit the strengths of the Bradley-Terry model (1952) to `table`, the result of `wins`.

    The mean strength of the items in `centre` is 0. If an item won all its votes, the likelihood
    has no finite maximum. So a weak prior moves strengths towards each other: each item gets
    `prior` more votes against an imaginary item of strength 0, and wins half of them. The
    covariance of the strengths' errors comes from a normal approximation at the maximum.

    Raise ValueError unless the table is square and `prior` is above 0.
    """
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not prior > 0:
        raise ValueError(f"the table must be square and prior above 0 (got {table.shape}, {prior})")
    count = table + table.T
    values = np.zeros(len(table))
    for _ in range(STEPS):
        gradient, information = _derivatives(values, table, count, prior)
        step = np.linalg.solve(information, gradient)
        # The likelihood is concave; steps of at most 1 do not oscillate around its maximum.
        values = values + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < SMALL:
            break
    _, information = _derivatives(values, table, count, prior)
    centred = np.eye(len(table))
    centred[:, list(centre)] -= 1 / len(centre)
    covariance = centred @ np.linalg.inv(information) @ centred.T
    return Strengths(centred @ values, covariance)


def _derivatives(values: Array, table: Array, count: Array, prior: float) -> tuple[Array, Array]:
    """Return the gradient (n,) and the negative Hessian (n, n) of the log posterior at `values`.

    `count` has the number of votes on each pair of items; the other arguments are as in `fit`.
    """
    p = expit(values[:, None] - values[None, :])
    against_average = expit(values)
    gradient = (table - count * p).sum(axis=1) + prior * (0.5 - against_average)
    weights = count * p * (1 - p)
    information = np.diag(weights.sum(axis=1)) - weights
    information += np.diag(prior * against_average * (1 - against_average))
    return gradient, information


def share_for(votes: Sequence[Vote], item: int) -> Share:
    """Return the share of votes for `item` among all decided votes that compare `item`."""
    decided = [vote for vote in votes if item in vote[:2] and vote.score != 0.5]
    return Share(sum(vote.score == (vote.first == item) for vote in decided), len(decided))


def agreement(votes: Sequence[Vote], values: Mapping[int, float], minimize: bool) -> Share:
    """Return the share of votes that prefer the item with the better value.

    `values` maps the numbers of items to values; `minimize` is True if lower values are better. A
    vote is left out if it is undecided, if an item has no value, or if both values are the same.
    """
    sign, agree, of = 1 if minimize else -1, 0, 0
    for first, second, score in votes:
        if score == 0.5 or not {first, second} <= values.keys():
            continue
        difference = sign * (values[second] - values[first])
        agree += (difference > 0) == (score == 1) and difference != 0
        of += difference != 0
    return Share(agree, of)


def _z(confidence: float) -> float:
    return float(ndtri((1 + confidence) / 2))
