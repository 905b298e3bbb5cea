"""Compute distances between the rows of two feature sets, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastgan_ray.metrics.checks import Array
from fastgan_ray.metrics.products import product_with

_BLOCK = 512  # rows of the distance matrix held at a time


def squared_distances(x: Array, y: Array) -> Iterator[tuple[slice, Array]]:
    """Compute the squared Euclidean distance from each row of `x` (n, d) to each row of `y` (m, d).

    Yields pairs (rows, block). `rows` is a slice of the rows of x, and `block` (len(rows), m) has
    their distances to all rows of y. The caller may overwrite `block`. No distance is negative. The
    rounding error is about 1e-15 times the rows' squared norms, so the distance of two equal rows
    may be slightly above 0.
    """
    y_norms, product = np.einsum("id,id->i", y, y), product_with(y)
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(x)))
        block = product(x[rows])
        block *= -2
        block += np.einsum("id,id->i", x[rows], x[rows])[:, None]
        block += y_norms
        yield rows, np.maximum(block, 0, out=block)


def squared_distances_to_others(x: Array) -> Iterator[tuple[slice, Array]]:
    """Yield `squared_distances(x, x)`, with the distance of each row to itself set to infinity."""
    for rows, block in squared_distances(x, x):
        block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = np.inf
        yield rows, block


def normalise_together(*sets: Array) -> list[Array]:
    """Scale all sets of features (n, d) by one factor, and subtract the mean of the first set.

    The factor makes the largest absolute value in all sets 1. The ratios of distances between rows
    do not change. Distances between the new rows lose few digits to rounding and cannot overflow.
    """
    scale = max(float(np.abs(rows).max()) for rows in sets) or 1.0
    mean = (sets[0] / scale).mean(axis=0)
    return [rows / scale - mean for rows in sets]
