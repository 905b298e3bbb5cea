"""How varied generated pictures are, beside real ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastgan_ray.metrics.checks import Array, checked_pair
from fastgan_ray.metrics.distances import normalised, squared_distances


def diversity(real: npt.ArrayLike, fake: npt.ArrayLike) -> float:
    """Mean distance between two different fakes over that between two different reals.

    1: as varied as the reals; 0: all the same picture (collapse). The mean is over pairs of
    different rows, hence does not depend on how many there are. The same question that LPIPS
    between samples asks (Zhu et al. 2017), in the feature space of the other metrics.

    real, fake: (n, d) and (m, d), n and m at least 2.
    Raises ValueError for another shape, fewer rows, different widths, a non-finite value, or reals
    that are all the same.
    """
    x, y = normalised(*checked_pair(real, fake))
    spread = _mean_distance(x)
    if spread == 0:
        raise ValueError("real must have rows that differ, for a variety to compare with")
    return _mean_distance(y) / spread


def _mean_distance(x: Array) -> float:
    """Mean Euclidean distance of two different rows; 0 where rounding alone sets rows apart."""
    total = sum(
        float(np.sqrt(np.where(squares > _rounding(x), squares, 0)).sum())
        for _, squares in squared_distances(x, x)
    )
    return total / (len(x) * (len(x) - 1))


def _rounding(x: Array) -> float:
    return 1e-13 * float(np.einsum("id,id->i", x, x).max())
