"""Compute the metric `diversity`: how varied fakes are, compared with real pictures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastgan_ray.metrics.checks import Array, check_feature_pair
from fastgan_ray.metrics.distances import normalise_together, squared_distances


def diversity(real: npt.ArrayLike, fake: npt.ArrayLike) -> float:
    """Divide the mean distance between two fakes by the mean distance between two reals.

    The value is 1 if the fakes are as varied as the reals, and 0 if all fakes are the same picture
    (mode collapse). It does not depend on the number of pictures, because a picture is never paired
    with itself. The distance of two pictures is the Euclidean distance of their features. LPIPS
    between samples (Zhu et al. 2017) has the same purpose.

    real, fake: features (n, d) and (m, d), n and m at least 2. Raises ValueError for another shape,
    fewer rows, different widths, a non-finite value, or reals that are all the same.
    """
    x, y = normalise_together(*check_feature_pair(real, fake))
    real_distance = _mean_distance(x)
    if real_distance == 0:
        raise ValueError("the rows of real must not all be equal")
    return _mean_distance(y) / real_distance


def _mean_distance(x: Array) -> float:
    """Return the mean distance over all pairs of two rows of `x` (n, d).

    A distance below the rounding error counts as 0.
    """
    total = sum(
        float(np.sqrt(np.where(squares > _rounding(x), squares, 0)).sum())
        for _, squares in squared_distances(x, x)
    )
    return total / (len(x) * (len(x) - 1))


def _rounding(x: Array) -> float:
    return 1e-13 * float(np.einsum("id,id->i", x, x).max())
