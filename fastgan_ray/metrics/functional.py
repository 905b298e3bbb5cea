"""Compute metrics of two feature sets that the user provides, with standard errors.

Features are arrays or tensors on any device, from any network, with a row for each picture. The
real features have the shape (n, d), the fake ones (m, d); n and m are at least 2. Each metric has
two standard errors, both estimated by the jackknife.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fastgan_ray.metrics import frechet, kernel, manifold
from fastgan_ray.metrics.checks import Array, check_feature_pair

Features = npt.ArrayLike | Tensor
_GROUPS = 20


class Estimate(NamedTuple):
    """A value and its standard errors."""

    value: float
    error: float
    """Standard error over new draws of fakes, for the same reals. Use it to compare generators."""
    error_with_reals: float
    """Standard error over new draws of both fakes and reals."""


def frechet_distance(real: Features, fake: Features) -> Estimate:
    """Compute the squared Frechet distance (FID on Inception's features); it is at least 0.

    Raises ValueError unless both arguments are (N, d) arrays with N at least 2, the same d and only
    finite values. See `frechet.frechet_distance`.
    """
    return Estimate(*frechet.frechet_distance_with_errors(_array(real), _array(fake)))


def kernel_distance(real: Features, fake: Features) -> Estimate:
    """Compute the kernel distance (KID on Inception's features); it may be a little below 0.

    Raises ValueError as `frechet_distance` does, and for features with an absolute value above
    1e50.
    See `kernel.kernel_distance`.
    """
    return Estimate(*kernel.kernel_distance(_array(real), _array(fake)))


def precision_recall_density_coverage(
    real: Features, fake: Features, k: int = 5, seed: int = 0
) -> dict[str, Estimate]:
    """Compute precision, recall, density and coverage (PRDC); return a dict with these keys.

    Each picture (a row of features) is the centre of a ball that reaches to its `k`-th nearest
    neighbour in the same set (see `manifold.precision_recall_density_coverage`). For the standard
    errors, each set is divided at random (by `seed`) into at most 20 groups of about equal size.
    One group is left out at a time. This takes about 40 times as long as computing only the values.
    Raises ValueError as `frechet_distance` does, for fewer than 4 rows in a set, and for k below 1.
    """
    x, y = check_feature_pair(_array(real), _array(fake))
    if min(len(x), len(y)) < 4:
        raise ValueError(
            f"standard errors need at least 4 rows in each set (got {len(x)} and {len(y)})"
        )
    values = manifold.precision_recall_density_coverage(x, y, k)
    rng = np.random.default_rng(seed)
    without_reals = [
        manifold.precision_recall_density_coverage(part, y, k) for part in _parts(x, rng)
    ]
    without_fakes = [
        manifold.precision_recall_density_coverage(x, part, k) for part in _parts(y, rng)
    ]
    estimates = {}
    for name, value in values.items():
        over_reals = _jackknife([row[name] for row in without_reals])
        over_fakes = _jackknife([row[name] for row in without_fakes])
        estimates[name] = Estimate(value, math.sqrt(over_fakes), math.sqrt(over_reals + over_fakes))
    return estimates


def _array(features: Features) -> npt.ArrayLike:
    if isinstance(features, Tensor):
        features = features.detach().double().cpu().numpy()
    return features


def _parts(rows: Array, rng: np.random.Generator) -> list[Array]:
    """Divide `rows` (n, d) into at most 20 random groups; for each group, return the other rows."""
    groups = np.array_split(rng.permutation(len(rows)), min(_GROUPS, len(rows)))
    return [np.delete(rows, group, axis=0) for group in groups]


def _jackknife(values: list[float]) -> float:
    """Return the jackknife variance of a metric.

    `values` has the values of the metric with one group of rows left out at a time.
    """
    return (len(values) - 1) * float(np.var(values))
