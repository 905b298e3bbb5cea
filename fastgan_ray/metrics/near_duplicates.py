"""Find near duplicates, outliers and clusters among pictures, by their features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.cluster.vq import kmeans2

Array = npt.NDArray[np.float64]

# The unit of distances is the median distance of a picture to the nearest other picture.
_NEAR = 0.3
# A picture that was resized or compressed again has the same sketch, but other features.
_NEAR_WITH_SKETCH = 2.5
_SKETCH_LEVELS = 2.0
_NEIGHBOURS = 3
_OUTLIER = 4.0  # robust standard deviations
_DIMENSIONS = 20
_MOST_CLUSTERS = 8
_CLEAR = 0.15  # the smallest mean silhouette of clusters that are reported
_ITERATIONS = 30


class Pair(NamedTuple):
    """The indices of two pictures that are nearly the same, and the distance of their features.

    The unit of the distance is the median distance of a picture to the nearest other picture.
    """

    first: int
    second: int
    distance: float


def distances(features: npt.ArrayLike) -> Array:
    """Return the Euclidean distances (n, n) between the rows of `features` (n, d).

    The diagonal is infinity, so that a picture is not its own nearest picture.
    """
    rows = np.asarray(features, np.float64)
    squares = np.einsum("id,id->i", rows, rows)
    between = squares[:, None] + squares[None] - 2 * rows @ rows.T
    values: Array = np.sqrt(np.maximum(between, 0))
    np.fill_diagonal(values, np.inf)
    return values


def with_mirrored(between: Array, features: npt.ArrayLike, mirrored: npt.ArrayLike) -> Array:
    """Return the distances (n, n) of pictures, where a picture may also be mirrored.

    The distance of pictures i and j is the smallest of three distances: i to j, mirrored i to j,
    and i to mirrored j. `between` has the distances of the pictures' `features`
    (n, d). `mirrored` (n, d) are the features of the mirror images. The diagonal is infinity.
    """
    rows, others = np.asarray(features, np.float64), np.asarray(mirrored, np.float64)
    across = np.stack([np.linalg.norm(others - row, axis=1) for row in rows])
    np.fill_diagonal(across, np.inf)
    nearest: Array = np.minimum(between, np.minimum(across, across.T))
    return nearest


def near_duplicates(
    between: Array, sketches: npt.ArrayLike, mirrored: npt.ArrayLike | None = None
) -> list[Pair]:
    """List the pairs of pictures that are nearly the same, the nearest first.

    `between` has the distances (n, n) of the pictures' features, from `distances` or
    `with_mirrored`. `sketches` (n, s) are small versions of the pictures, with values from 0 to
    255. `mirrored` (n, s) are the sketches of the mirror images. If `mirrored` is None, sketches of
    mirror images are not compared. A pair is listed if its features are much nearer than usual. A
    pair is also listed if its sketches are nearly equal and its features are not much farther apart
    than usual.
    """
    unit = _unit(between)
    if unit == 0:  # most pictures are equal
        unit = float(between[np.isfinite(between)].max()) or 1.0
    small = np.asarray(sketches, np.float64)
    turned = small if mirrored is None else np.asarray(mirrored, np.float64)
    pairs = []
    for first, row in enumerate(between / unit):
        others = np.flatnonzero(row[first + 1 :] < _NEAR_WITH_SKETCH) + first + 1
        differences = np.minimum(
            np.abs(small[others] - small[first]).mean(axis=1),
            np.abs(turned[others] - small[first]).mean(axis=1),
        )
        near = others[(row[others] < _NEAR) | (differences <= _SKETCH_LEVELS)]
        pairs += [Pair(first, int(second), float(row[second])) for second in near]
    return sorted(pairs, key=lambda pair: pair.distance)


def outliers(between: Array) -> list[int]:
    """Return the indices of the pictures that are far from all others, the farthest first.

    `between` (n, n) has the distances of the pictures. For each picture, take the mean distance to
    its nearest neighbours. A picture is an outlier if this mean is more than _OUTLIER robust
    standard deviations above the median over all pictures.
    """
    count = min(_NEIGHBOURS, len(between) - 1)
    if count < 1:
        return []
    nearest = np.sort(between, axis=1)[:, :count].mean(axis=1)
    middle = np.median(nearest)
    deviation = 1.4826 * np.median(np.abs(nearest - middle))
    if deviation == 0:
        return []
    scores = (nearest - middle) / deviation
    return [int(index) for index in np.argsort(-scores) if scores[index] > _OUTLIER]


def clusters(features: npt.ArrayLike, seed: int = 0) -> list[list[int]]:
    """Divide pictures into clusters by their `features` (n, d); return the indices in each cluster.

    The largest cluster is first, and each cluster starts with the picture nearest to its centre.
    The method is k-means on the first principal components of the features. The number of clusters
    is the one with the best mean silhouette (Rousseeuw 1987). If no division is clear, all pictures
    are in one cluster.
    """
    rows = np.asarray(features, np.float64)
    everything = [_typical_first(rows, np.arange(len(rows)))]
    if len(rows) < 2 * _MOST_CLUSTERS:
        return everything
    points = _main_directions(rows)
    if len(np.unique(points.round(9), axis=0)) <= _MOST_CLUSTERS:  # most pictures are equal
        return everything
    between = distances(points)
    np.fill_diagonal(between, 0)
    best, divided = _CLEAR, None
    for count in range(2, _MOST_CLUSTERS + 1):
        _, labels = kmeans2(points, count, _ITERATIONS, minit="++", rng=np.random.default_rng(seed))
        if len(np.unique(labels)) < 2:
            continue
        if (score := _silhouette(between, labels)) > best:
            best, divided = score, labels
    if divided is None:
        return everything
    groups = [np.flatnonzero(divided == label) for label in np.unique(divided)]
    return [_typical_first(points, group) for group in sorted(groups, key=len, reverse=True)]


def _unit(between: Array) -> float:
    return float(np.median(between.min(axis=1)))


def _main_directions(rows: Array) -> Array:
    centred = rows - rows.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    points: Array = left[:, :_DIMENSIONS] * values[:_DIMENSIONS]
    return points


def _typical_first(points: Array, group: npt.NDArray[np.int64]) -> list[int]:
    """Sort the pictures of a cluster by their distance to its centre; return their indices."""
    members = points[group]
    order = np.argsort(np.linalg.norm(members - members.mean(axis=0), axis=1), kind="stable")
    return [int(index) for index in group[order]]


def _silhouette(between: Array, labels: npt.NDArray[np.int32]) -> float:
    """Return the mean silhouette of all pictures; a picture alone in its cluster counts as 0."""
    names, sizes = np.unique(labels, return_counts=True)
    sums = np.stack([between[:, labels == name].sum(axis=1) for name in names], axis=1)
    own = np.searchsorted(names, labels)
    rows = np.arange(len(labels))
    inside = sums[rows, own] / np.maximum(sizes[own] - 1, 1)
    means = sums / sizes
    means[rows, own] = np.inf
    outside = means.min(axis=1)
    scores = (outside - inside) / np.maximum(np.maximum(inside, outside), 1e-300)
    return float(np.where(sizes[own] > 1, scores, 0.0).mean())
