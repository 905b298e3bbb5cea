"""Distances between the rows of feature sets, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastgan_ray.metrics.checks import Array

_BLOCK = 512  # rows of the distance matrix held at a time


def squared_distances(x: Array, y: Array) -> Iterator[tuple[slice, Array]]:
    """Squared Euclidean distances of the rows of `x` (n, d) to those of `y` (m, d).

    Yields (rows of x, their distances (rows, m)); at least 0, to about 1e-15 of the rows' squared
    norms, hence not exactly 0 for equal rows. The array may be overwritten.
    """
    y_norms = np.einsum("id,id->i", y, y)
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(x)))
        block = x[rows] @ y.T
        block *= -2
        block += np.einsum("id,id->i", x[rows], x[rows])[:, None]
        block += y_norms
        yield rows, np.maximum(block, 0, out=block)


def squared_distances_to_others(x: Array) -> Iterator[tuple[slice, Array]]:
    """As `squared_distances` of `x` to itself, a row's distance to itself being infinite."""
    for rows, block in squared_distances(x, x):
        block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = np.inf
        yield rows, block


def normalised(*sets: Array) -> list[Array]:
    """The sets moved and scaled as one: the first one's mean at 0, the largest value 1.

    Distances keep their proportions, lose the fewest digits and cannot overflow.
    """
    scale = max(float(np.abs(rows).max()) for rows in sets) or 1.0
    mean = (sets[0] / scale).mean(axis=0)
    return [rows / scale - mean for rows in sets]
