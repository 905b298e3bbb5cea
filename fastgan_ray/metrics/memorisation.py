"""Whether generated pictures are new, or training pictures again."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastgan_ray.metrics.checks import Array, checked_pair
from fastgan_ray.metrics.distances import normalised, squared_distances

# Of real pictures, the share that is nearer to another than "too near" means.
TOO_NEAR = 0.05
# Squared distance of one picture to itself, its features computed twice, at most; relative to the
# mean squared distance from the mean.
_SAME = 1e-6


class Pair(NamedTuple):
    """A fake, its nearest training picture, and their distance in units of the reals' own."""

    fake: int
    training: int
    distance: float


class Neighbours(NamedTuple):
    """For each fake its nearest training pictures, the nearest first."""

    pairs: list[list[Pair]]
    too_near: float
    """Nearer than this only 5 % of the training pictures are to another; in the pairs' unit."""


class Nearest(NamedTuple):
    """Each fake's distance to, and index of, its nearest training picture: both (m,).

    `reference` (n,): each training picture's distance to its nearest other one.
    """

    distances: Array
    indices: npt.NDArray[np.int64]
    reference: Array


def nearest(
    training: npt.ArrayLike, fake: npt.ArrayLike, mirrored: npt.ArrayLike | None = None
) -> Nearest:
    """How near fakes are to training pictures, and how near those are to each other.

    training, fake: (n, d) and (m, d), n and m at least 2. mirrored: (n, d), row i the features of
    training picture i's mirror image, where training flips: a mirrored copy is a copy, but a
    picture's own mirror image is not another picture.
    Nor is a duplicate another picture, or a training set with duplicates would excuse copies.
    Raises ValueError for another shape, fewer rows, different widths, a non-finite value, or
    training pictures that are all the same.
    """
    views, made = _views(training, fake, mirrored)
    images = np.concatenate(views)
    distances, indices = np.empty(len(made)), np.empty(len(made), np.int64)
    for rows, squares in squared_distances(made, images):
        indices[rows] = squares.argmin(axis=1)
        distances[rows] = squares.min(axis=1)
    return Nearest(np.sqrt(distances), indices % len(views[0]), _reference(views, images))


def memorisation(found: Nearest) -> dict[str, float]:
    """How near fakes are to training pictures, against how near those are to each other.

    nearest_ratio: mean distance of a fake to its nearest training picture, over that of a training
    picture to its nearest other one; about 1 for new pictures of the same kind, 0 for copies.
    memorised: share of fakes nearer to a training picture than all but 5 % of the training pictures
    are to their nearest other; about .05 for new pictures of the same kind, 1 for copies.

    Source: nearest neighbours against a real-to-real reference, as in Meehan et al. 2020.
    """
    near = np.quantile(found.reference, TOO_NEAR)
    return {
        "nearest_ratio": float(found.distances.mean() / found.reference.mean()),
        "memorised": float((found.distances < near).mean()),
    }


def worst_pairs(found: Nearest, count: int = 16) -> list[Pair]:
    """The fakes nearest to a training picture, the nearest first."""
    away = found.distances / float(found.reference.mean())
    order = np.argsort(away, kind="stable")[:count]
    return [Pair(int(i), int(found.indices[i]), float(away[i])) for i in order]


def neighbours(
    training: npt.ArrayLike,
    fake: npt.ArrayLike,
    mirrored: npt.ArrayLike | None = None,
    count: int = 3,
) -> Neighbours:
    """The `count` training pictures nearest to each fake; other arguments as `nearest`."""
    views, made = _views(training, fake, mirrored)
    images = np.concatenate(views)
    reference = _reference(views, images)
    usual = float(reference.mean())
    pairs: list[list[Pair]] = []
    for rows, squares in squared_distances(made, images):
        # A training picture is as near as the nearer of itself and its mirror image.
        away = np.sqrt(squares.reshape(len(squares), len(views), -1).min(axis=1)) / usual
        order = np.argsort(away, axis=1, kind="stable")[:, :count]
        for row, (indices, distances) in enumerate(zip(order, away, strict=True)):
            fake_index = rows.start + row
            pairs.append([Pair(fake_index, int(i), float(distances[i])) for i in indices])
    return Neighbours(pairs, float(np.quantile(reference, TOO_NEAR)) / usual)


def _views(
    training: npt.ArrayLike, fake: npt.ArrayLike, mirrored: npt.ArrayLike | None
) -> tuple[list[Array], Array]:
    """Training features (n, d), then their mirror images' if given; and the fakes' (m, d)."""
    real, made = checked_pair(training, fake, ("training", "fake"))
    flipped = real if mirrored is None else checked_pair(real, mirrored)[1]
    if len(flipped) != len(real):
        raise ValueError(
            f"mirrored must have a row for each of training (got {len(flipped)}, {len(real)})"
        )
    real, made, flipped = normalised(real, made, flipped)
    return ([real] if mirrored is None else [real, flipped]), made


def _reference(views: list[Array], images: Array) -> Array:
    """The distance (n,) of each training picture to its nearest other one."""
    squares = _squares_to_others(views, images)
    if not np.isfinite(squares).all():
        raise ValueError("training must have pictures that differ, for a distance to compare with")
    return np.sqrt(squares)


def _squares_to_others(views: list[Array], images: Array) -> Array:
    """Squared distance (n,) of each picture to its nearest other one; infinite if there is none.

    views: each picture's features (n, d), and its mirror image's; images: all of them as one.
    """
    first = views[0]
    same = _SAME * float(np.einsum("id,id->", first, first)) / len(first)
    nearest = np.empty(len(first))
    for blocks in zip(*(squared_distances(view, images) for view in views), strict=True):
        rows, squares = blocks[0]
        itself = np.logical_or.reduce([block <= same for _, block in blocks])
        nearest[rows] = np.where(itself, np.inf, squares).min(axis=1)
    return nearest
