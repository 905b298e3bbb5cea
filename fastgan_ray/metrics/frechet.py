"""Compute the Frechet distance of two feature sets (FID) and its standard error.

This module does not use clean-fid or torch-fidelity, because they compute no standard errors. With
100 real pictures, this module is 130 times as fast as clean-fid (benchmarks/results/metrics.md).
Its values differ from clean-fid's values by at most 6e-07 of the value.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import linalg

from fastgan_ray.metrics.checks import Array, check_feature_pair

_NAMES = ("real_features", "fake_features")
_EPSILON = float(np.finfo(np.float64).eps)
# The slower, exact method is used if the rounding error may exceed this share of the distance.
_TOLERANCE = 1e-6
# Sets are scaled only if their largest feature is not between this number and its inverse. Within
# this range, fourth powers neither underflow nor overflow.
_SMALLEST = 1e-50
# Nodes log(u) of an integral over u, from 1e-7 to 1e7 times its scale; its error is about 1e-7.
_LOG_NODES = np.linspace(-16, 16, 65)


def frechet_distance(real_features: npt.ArrayLike, fake_features: npt.ArrayLike) -> float:
    """Compute the squared Frechet distance of the Gaussians fitted to two sets of features.

    The distance is |mean difference|^2 + tr(S1 + S2 - 2 sqrt(S1 S2)), with unbiased covariances S1
    and S2, in float64. It is at least 0. Exchanging the arguments changes the distance only by
    rounding.

    real_features, fake_features: (n, d) and (m, d), n and m at least 2.
    Raises ValueError for another shape, fewer rows, different widths or a non-finite value.
    Source: Heusel et al. 2017, eq. 6. Let X and Y be the centred sets, divided by sqrt(n - 1) and
    sqrt(m - 1). Then the trace of sqrt(S1 S2) is the sum of the singular values of X Y', so no
    matrix root is needed.
    """
    real, fake, scale = _scaled(real_features, fake_features)
    upper = _means_and_traces(real, fake)
    norm, rounding = _quick_nuclear_norm(real.rows, fake.rows)
    if rounding > _TOLERANCE * (upper - 2 * norm):
        norm = _nuclear_norm(real.rows, fake.rows)
    return max(upper - 2 * norm, 0.0) * scale * scale


def frechet_distance_with_errors(
    real_features: npt.ArrayLike,
    fake_features: npt.ArrayLike,
    mirrored_features: npt.ArrayLike | None = None,
) -> tuple[float, float, float]:
    """Compute the squared Frechet distance and two standard errors of the distance.

    Returns (distance, error over fakes, error over fakes and reals). The first error estimates the
    standard deviation over new draws of fakes with the same reals. Use this error to compare trials
    with the same reference. The second error also treats the reals as a random sample. Neither
    error includes the bias of the distance, which is larger if there are fewer pictures. Arguments
    and exceptions are as in `frechet_distance`.

    If `mirrored_features` (n, d) is given, the reals are the rows of `real_features` and of
    `mirrored_features`. A picture and its mirror image are not independent, so the second error
    leaves them out together (see `_pairs_left_out`). Raises ValueError for another shape.

    Both errors are exact jackknife estimates: one row is left out at a time. A formula gives all
    distances without a row at once (see `_without_each`). In tests with d from 64 to 1280 and 6 to
    1,000 rows, the errors were 0.9 to 1.2 times the true standard deviation over new draws. If the
    two sets have the same distribution, the second error is too large. It was up to 2.2 times the
    true value.
    """
    reals = np.asarray(real_features)
    if mirrored_features is not None:
        mirrored = np.asarray(mirrored_features)
        if mirrored.shape != reals.shape:
            raise ValueError(
                "mirrored_features: must have the shape of real_features, "
                f"{reals.shape} (got {mirrored.shape})"
            )
        reals = np.concatenate([reals, mirrored])
    real, fake, scale = _scaled(reals, fake_features)
    values, left, right = _singular(real.rows, fake.rows)
    value = max(_means_and_traces(real, fake) - 2 * float(values.sum()), 0.0)
    without_each = _without_each(real, fake, values, left)
    if mirrored_features is not None:
        without_each = _pairs_left_out(without_each)
    over_reals = _jackknife(without_each)
    over_fakes = _jackknife(_without_each(fake, real, values, right))
    alone, both = math.sqrt(over_fakes), math.sqrt(over_reals + over_fakes)
    return value * scale * scale, alone * scale * scale, both * scale * scale


class _Set(NamedTuple):
    """A set of features, centred and scaled."""

    mean: Array  # (d,)
    rows: Array  # (n, d): (features - mean) / sqrt(n - 1), so rows.T @ rows is the covariance


def _scaled(real: npt.ArrayLike, fake: npt.ArrayLike) -> tuple[_Set, _Set, float]:
    """Scale and centre both sets; return the two sets and the number by which they were divided.

    Very large or very small features are divided by the largest absolute value of both sets, so
    that no later value overflows or underflows. Other features are divided by 1.
    """
    a, b = check_feature_pair(real, fake, _NAMES)
    largest = max(float(a.max()), -float(a.min()), float(b.max()), -float(b.min()))
    if largest == 0 or _SMALLEST < largest < 1 / _SMALLEST:
        return _centred(a), _centred(b), 1.0
    return _centred(a / largest), _centred(b / largest), largest


def _centred(features: Array) -> _Set:
    mean: Array = features.mean(axis=0)
    rows = features - mean
    rows /= math.sqrt(len(features) - 1)
    return _Set(mean, rows)


def _means_and_traces(a: _Set, b: _Set) -> float:
    """Return |mean difference|^2 + tr(S1) + tr(S2), where S1 and S2 are the covariances.

    This is the squared Frechet distance plus 2 tr(sqrt(S1 S2)).
    """
    difference = a.mean - b.mean
    return float(difference @ difference + np.vdot(a.rows, a.rows) + np.vdot(b.rows, b.rows))


def _quick_nuclear_norm(x: Array, y: Array) -> tuple[float, float]:
    """Return the sum of the singular values of x y', and an upper bound of the rounding error.

    x, y: centred sets (n, d) and (m, d). The singular values are computed as roots of eigenvalues.
    So small singular values lose half their digits. This matters little if each set has the largest
    possible rank, min(n - 1, d) or min(m - 1, d). Otherwise, the bound is large or infinite.
    """
    if _tall(x, y):
        first, second = x.T @ x, y.T @ y
        try:
            factor = linalg.cholesky(first, lower=True, check_finite=False)
        except linalg.LinAlgError:
            return 0.0, math.inf
        half = linalg.blas.dtrmm(1.0, factor, second, lower=1, trans_a=1)
        gram = linalg.blas.dtrmm(1.0, factor, half, side=1, lower=1)
        squares = linalg.eigvalsh(gram, overwrite_a=True, check_finite=False)
        rounding = _EPSILON * float(np.linalg.norm(first) * np.linalg.norm(second))
    else:
        product = x @ y.T if len(x) <= len(y) else y @ x.T
        gram = product @ product.T
        # The rows are centred, so the smallest eigenvalue is 0.
        squares = linalg.eigvalsh(gram, check_finite=False)[1:]
        rounding = _EPSILON * float(np.linalg.norm(gram))
    if rounding == 0:
        return 0.0, 0.0
    roots = np.sqrt(np.maximum(squares, rounding))
    return float(roots.sum()), rounding * float((1 / roots).sum())


def _nuclear_norm(x: Array, y: Array) -> float:
    """Sum the singular values of x y', each accurate to about 1e-15 of the largest.

    x, y: centred sets (n, d) and (m, d).
    """
    if len(x) > len(y):
        x, y = y, x
    product = _triangular(x) @ _triangular(y).T if _tall(x, y) else x @ y.T
    return float(np.linalg.norm(_left_vectors(product).T @ product, axis=1).sum())


def _singular(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Return the singular values, left singular vectors and right singular vectors of x y'.

    x, y: centred sets (n, d) and (m, d). The singular values have the shape (r,). The vectors are
    the columns of two matrices, (n, r) and (m, r). Each vector is multiplied by its singular value.
    """
    if len(x) > len(y):
        values, right, left = _singular(y, x)
        return values, left, right
    if _tall(x, y):
        basis, factor = linalg.qr(x, mode="economic", check_finite=False)
        vectors = _left_vectors(factor @ _triangular(y).T)
        right = y @ (factor.T @ vectors)
        vectors = basis @ vectors
    else:
        vectors = _left_vectors(x @ y.T)
        right = y @ (x.T @ vectors)
    values = np.linalg.norm(right, axis=0)
    return values, vectors * values, right


def _tall(x: Array, y: Array) -> bool:
    """Return whether x and y both have more rows than columns; if so, work with (d, d) matrices."""
    return bool(min(len(x), len(y)) > x.shape[1])


def _triangular(x: Array) -> Array:
    """Return the factor R (d, d) of the QR decomposition of x.

    R can replace x to compute singular values, because a multiplication by Q does not change them.
    """
    factor: Array = linalg.qr(x, mode="r", check_finite=False)[0][: x.shape[1]]
    return factor


def _left_vectors(product: Array) -> Array:
    """Return the left singular vectors of `product`, as columns.

    They are computed as the eigenvectors of the Gram matrix, because an SVD would take far longer.
    To get the singular value of a vector v, compute the norm of v' `product`. The root of v's
    eigenvalue would lose half the digits of a small singular value.
    """
    vectors: Array = linalg.eigh(product @ product.T, driver="evd", check_finite=False)[1]
    return vectors


def _without_each(this: _Set, other: _Set, values: Array, vectors: Array) -> Array:
    """Compute the distances (n,) with one row of `this` left out at a time.

    values: the singular values of M = this.rows other.rows'. vectors: the left singular vectors of
    M, each multiplied by its singular value.

    If a row x is removed and the rest is centred again, the scatter matrix of `this` loses
    n / (n - 1) x x', which has rank one. The nuclear norm of M is tr (M' M)^(1/2), and M' M also
    changes by a matrix of rank one. The square root of a matrix A is the integral of
    (2 / pi) A / (A + u^2) over u > 0. With the matrix determinant lemma, the nuclear norm decreases
    by -(1 / pi) times the integral of log(1 - n / (n - 1) q(u)) over u > 0. Here, q(u) is the sum
    of v^2 / (values^2 + u^2), and v is the row of `vectors` that belongs to x.
    """
    n = len(this.rows)
    squares: Array = np.einsum("id,id->i", this.rows, this.rows)
    # With n = 2, the one remaining row has no covariance, and the numerators below are 0.
    spread = (n - 1) / max(n - 2, 1)
    traces = (squares.sum() - n / (n - 1) * squares) * spread
    norms = (values.sum() - _norm_of_each(values, vectors)) * math.sqrt(spread)
    difference = this.mean - other.mean
    means = squares / (n - 1) - 2 * this.rows @ difference / math.sqrt(n - 1)
    distances: Array = traces + means - 2 * norms
    return distances


def _norm_of_each(values: Array, vectors: Array) -> Array:
    """Return how much the nuclear norm of M decreases (n,) if one row is left out at a time.

    M, `values` and `vectors` are as in `_without_each`.
    """
    n, largest = len(vectors), float(values.max())
    if largest == 0:
        return np.zeros(n)
    u = largest * np.exp(_LOG_NODES)
    q = (vectors * vectors) @ (1 / (values[:, None] ** 2 + u**2))
    # q is at most (n - 1) / n; rounding must not exceed it.
    change = -np.log(np.maximum(1 - n / (n - 1) * q, _EPSILON))
    norms: Array = change @ u * ((_LOG_NODES[1] - _LOG_NODES[0]) / math.pi)
    return norms


def _pairs_left_out(without_each: Array) -> Array:
    """Return the effects (n,) of leaving out a picture and its mirror image, up to a constant.

    `without_each` (2n,) are the distances with one row left out: the pictures, then their mirror
    images in the same order. The effect of a pair is taken as the sum of its rows' effects. In
    tests with 10 to 200 pictures, this error was 1.00 to 1.06 times that of leaving out pairs.
    """
    effects: Array = without_each.reshape(2, -1).sum(axis=0)
    return effects


def _jackknife(values: Array) -> float:
    """Return the jackknife variance of a statistic.

    `values` (n,) has the values of the statistic with one row left out at a time. The variance is
    (n - 1) / n times the sum of (value - mean of the values)^2.
    """
    return (len(values) - 1) * float(np.var(values))
