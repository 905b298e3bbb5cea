"""The Frechet distance of two feature sets, exactly and fast."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import linalg

from fastgan_ray.metrics.checks import Array, checked_pair


def frechet_distance(real_features: npt.ArrayLike, fake_features: npt.ArrayLike) -> float:
    """Squared Frechet distance of the Gaussians fitted to two sets of features.

    |mean difference|^2 + tr(S1 + S2 - 2 sqrt(S1 S2)) with unbiased covariances, in float64; at
    least 0, and symmetric in its arguments to rounding.

    real_features, fake_features: (n, d) and (m, d), n and m at least 2.
    Raises ValueError for another shape, fewer rows, different widths or a non-finite value.
    Source: Heusel et al. 2017, eq. 6. With X, Y the centred sets over sqrt(n - 1), the trace of
    sqrt(S1 S2) is the sum of the singular values of X Y', so no d x d root is ever taken.
    """
    real, fake = checked_pair(real_features, fake_features, ("real_features", "fake_features"))
    scale = float(max(np.abs(real).max(), np.abs(fake).max()))
    if scale == 0:
        return 0.0
    # In units of the largest value nothing overflows on the way.
    real_mean, x = _centred(real / scale)
    fake_mean, y = _centred(fake / scale)
    difference = real_mean - fake_mean
    total = difference @ difference + np.sum(x * x) + np.sum(y * y)
    distance = total - 2 * _nuclear_norm_of_product(x, y)
    return max(float(distance), 0.0) * scale * scale


def _centred(features: Array) -> tuple[Array, Array]:
    """The mean (d,), and the rows minus it over sqrt(n - 1), whose Gram is the covariance."""
    mean: Array = features.mean(axis=0)
    return mean, (features - mean) / np.sqrt(len(features) - 1)


def _nuclear_norm_of_product(x: Array, y: Array) -> float:
    """Sum of the singular values of x y', of at most min(n, m, d) of them.

    Singular values of the product itself, not roots of the eigenvalues of its Gram matrix or of
    S1 S2: those lose half the digits, and need a jitter where a covariance is singular.
    """
    if min(len(x), len(y)) > x.shape[1]:
        x, y = _triangular(x), _triangular(y)
    return float(linalg.svdvals(x @ y.T, overwrite_a=True, check_finite=False).sum())


def _triangular(x: Array) -> Array:
    """The (d, d) matrix with the same x'x: R of x = QR. Q drops out of the singular values."""
    factor: Array = linalg.qr(x, mode="r", check_finite=False)[0][: x.shape[1]]
    return factor
