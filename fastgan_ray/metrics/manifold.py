"""Compute precision, recall, density and coverage of fakes among real pictures.

This module does not use torch-fidelity, because torch-fidelity has only precision and recall, and
computes their means in float32.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastgan_ray.metrics.checks import Array, check_feature_pair
from fastgan_ray.metrics.distances import (
    normalise_together,
    squared_distances,
    squared_distances_to_others,
)

# Rounding of a squared distance relative to the squared norms, with a wide margin.
_ROUNDING = 1e-12


def precision_recall_density_coverage(
    real: npt.ArrayLike, fake: npt.ArrayLike, k: int = 5
) -> dict[str, float]:
    """Compute precision, recall, density and coverage of fakes; return a dict with these keys.

    Each row of features is the centre of a ball. The radius is the distance to the k-th nearest
    other row of the same set.
    - precision: share of fakes in at least one real's ball; 0 to 1.
    - recall: share of reals in at least one fake's ball; 0 to 1.
    - density: the mean number of reals' balls that contain a fake, divided by k. It is about 1 for
      new pictures of the same kind, and larger if the fakes are close to the densest reals.
    - coverage: share of reals whose ball contains at least one fake; 0 to 1. With m = n new
      pictures of the same kind it is about 1 - 2^-k (0.97 for k = 5).
    A row on the surface of a ball counts as inside. So copies are inside a ball of radius 0.

    real, fake: (n, d) and (m, d), n and m at least 2. k: at least 1; if a set has k rows or fewer,
    its balls reach to the farthest other row. Raises ValueError for another shape, fewer rows,
    different widths or a non-finite value. Source: Kynkaanniemi et al. 2019, eq. 1 and 2; Naeem et
    al. 2020, eq. 3 and 4.
    """
    x, y = check_feature_pair(real, fake)
    if k < 1:
        raise ValueError(f"k must be at least 1 (got {k})")
    x, y = normalise_together(x, y)
    x_radii, y_radii = _squared_radii(x, k), _squared_radii(y, k)
    balls_around_fake = np.zeros(len(y), dtype=np.int64)
    recalled = covered = 0
    for rows, squares in squared_distances(x, y):
        in_real_ball = squares <= x_radii[rows, None]
        balls_around_fake += in_real_ball.sum(axis=0)
        covered += int(in_real_ball.any(axis=1).sum())
        recalled += int((squares <= y_radii).any(axis=1).sum())
    return {
        "precision": float((balls_around_fake > 0).mean()),
        "recall": recalled / len(x),
        "density": float(balls_around_fake.mean()) / k,
        "coverage": covered / len(x),
    }


def _squared_radii(x: Array, k: int) -> Array:
    """Return the squared distance (n,) of each row to its k-th nearest other row.

    A small margin for rounding errors is added.
    """
    nearest = min(k, len(x) - 1) - 1
    radii: Array = np.empty(len(x))
    for rows, squares in squared_distances_to_others(x):
        radii[rows] = np.partition(squares, nearest, axis=1)[:, nearest]
    radii += _ROUNDING * (np.einsum("id,id->i", x, x) + radii)
    return radii
