"""Compare random halves of a picture set, to find which differences in a metric can be chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastgan_ray.metrics.frechet import frechet_distance
from fastgan_ray.metrics.kernel import kernel_distance

SMALLEST = 8
"""With fewer pictures than this, the halves are too small to measure."""
_SPLITS, _FEWER_SPLITS = 20, 6
_MANY = 600  # from this many pictures on, use _FEWER_SPLITS: splits take long, results vary little
_CLEARLY = 2.0  # standard deviations


class Halves(NamedTuple):
    """Frechet distance (fd) and kernel distance (kd) between two random halves of a set.

    Each distance is a mean over several splits of the set. Names that end in `_sd` are the standard
    deviations over splits.
    """

    half: int  # pictures in each half
    fd: float
    fd_sd: float
    kd: float
    kd_sd: float
    mirror_kd: float
    """By how much `kd` grows if one of the two halves is replaced by its mirror images."""
    mirror_kd_sd: float

    @property
    def has_direction(self) -> bool:
        """True if mirror images clearly differ from the pictures, e.g. because of text."""
        return self.mirror_kd > _CLEARLY * max(self.mirror_kd_sd, self.kd_sd)


def half_against_half(features: npt.ArrayLike, mirrored: npt.ArrayLike, seed: int = 0) -> Halves:
    """Compute the distances between two halves of a set, over several random splits.

    `features` (n, d) are the features of real pictures; `mirrored` (n, d) are the features of their
    mirror images, in the same order. n must be at least SMALLEST.
    """
    rows, mirror_rows = np.asarray(features), np.asarray(mirrored)
    assert len(rows) == len(mirror_rows) >= SMALLEST
    rng, half = np.random.default_rng(seed), len(rows) // 2
    values = []
    for _ in range(_SPLITS if len(rows) < _MANY else _FEWER_SPLITS):
        order = rng.permutation(len(rows))
        first, second = order[:half], order[half : 2 * half]
        kd = kernel_distance(rows[first], rows[second])[0]
        mirror_kd = kernel_distance(rows[first], mirror_rows[second])[0]
        values.append((frechet_distance(rows[first], rows[second]), kd, mirror_kd - kd))
    means, deviations = np.mean(values, axis=0), np.std(values, axis=0, ddof=1)
    (fd, kd, mirror_kd), (fd_sd, kd_sd, mirror_kd_sd) = means.tolist(), deviations.tolist()
    return Halves(half, fd, fd_sd, kd, kd_sd, mirror_kd, mirror_kd_sd)
