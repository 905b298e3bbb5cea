"""Measure memorisation: whether generated pictures are copies of training pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastgan_ray.metrics.checks import Array, check_feature_pair
from fastgan_ray.metrics.distances import normalise_together, squared_distances

# A distance is "too near" if it is below this quantile of the training pictures' distances to the
# nearest other training picture.
TOO_NEAR = 0.05
# Two feature vectors count as the same picture if their squared distance is at most this share of
# the mean squared distance from the mean feature vector (rounding differs between batches).
_SAME = 1e-6


class Pair(NamedTuple):
    """A generated picture and one of the training pictures that are nearest to it.

    `fake` and `training` are the indices of the two pictures. `distance` is the distance of their
    features, divided by the mean distance of training pictures to the nearest other training
    picture.
    """

    fake: int
    training: int
    distance: float


class Neighbours(NamedTuple):
    """The nearest training pictures of each fake.

    `pairs[i]` has the pairs of fake i, the nearest training picture first.
    """

    pairs: list[list[Pair]]
    too_near: float
    """The distance, in the unit of `Pair.distance`, below which a fake is too near to a training
    picture: only 5 % of training pictures are nearer than this to another training picture."""


class NearestTraining(NamedTuple):
    """The nearest training picture of each fake.

    `indices` (m,) has the index of this training picture, and `distances` (m,) the distance to it.
    `reference` (n,) has, for each training picture, the distance to the nearest other training
    picture.
    """

    distances: Array
    indices: npt.NDArray[np.int64]
    reference: Array


def nearest_training(
    training: npt.ArrayLike, fake: npt.ArrayLike, mirrored: npt.ArrayLike | None = None
) -> NearestTraining:
    """Find the nearest training picture of each fake and of each training picture.

    training, fake: features (n, d) and (m, d), n and m at least 2. mirrored: features (n, d) of the
    training pictures' mirror images, in the same order. Pass `mirrored` if the training flips
    pictures, because a mirrored copy is also a copy.

    For a training picture, the nearest *other* training picture is used. The picture itself, its
    mirror image and its duplicates are not other pictures. Otherwise, copies would look normal in a
    training set with duplicates. Raises ValueError for another shape, fewer rows, different widths,
    a non-finite value, or training pictures that are all the same.
    """
    views, fakes = _views(training, fake, mirrored)
    images = np.concatenate(views)
    distances, indices = np.empty(len(fakes)), np.empty(len(fakes), np.int64)
    for rows, squares in squared_distances(fakes, images):
        indices[rows] = squares.argmin(axis=1)
        distances[rows] = squares.min(axis=1)
    return NearestTraining(np.sqrt(distances), indices % len(views[0]), _reference(views, images))


def memorisation(nearest: NearestTraining) -> dict[str, float]:
    """Compare how near fakes and training pictures are to the nearest training picture.

    Returns two numbers:
    - nearest_ratio: the fakes' mean distance to the nearest training picture, divided by the
      training pictures' mean distance to the nearest other training picture. It is about 1 for new
      pictures of the same kind, and 0 for copies.
    - memorised: the share of fakes whose distance to the nearest training picture is below the 0.05
      quantile of the training pictures' distances to the nearest other training picture. It is
      about 0.05 for new pictures of the same kind, and 1 for copies.

    The idea is from Meehan et al. 2020, who compare the distances from fakes to training pictures
    with distances between real pictures. The two numbers are not theirs.
    """
    too_near = np.quantile(nearest.reference, TOO_NEAR)
    return {
        "nearest_ratio": float(nearest.distances.mean() / nearest.reference.mean()),
        "memorised": float((nearest.distances < too_near).mean()),
    }


def closest_pairs(nearest: NearestTraining, count: int = 16) -> list[Pair]:
    """Pair each fake with its nearest training picture; return the closest pairs.

    The result has at most `count` pairs, the closest first.
    """
    distances = nearest.distances / float(nearest.reference.mean())
    order = np.argsort(distances, kind="stable")[:count]
    return [Pair(int(i), int(nearest.indices[i]), float(distances[i])) for i in order]


def neighbours(
    training: npt.ArrayLike,
    fake: npt.ArrayLike,
    mirrored: npt.ArrayLike | None = None,
    count: int = 3,
) -> Neighbours:
    """Find the `count` nearest training pictures of each fake.

    The other arguments and the exceptions are as in `nearest_training`.
    """
    views, fakes = _views(training, fake, mirrored)
    images = np.concatenate(views)
    reference = _reference(views, images)
    unit = float(reference.mean())
    pairs: list[list[Pair]] = []
    for rows, squares in squared_distances(fakes, images):
        # The distance to a training picture is the smaller of the distances to it and its mirror.
        distances = np.sqrt(squares.reshape(len(squares), len(views), -1).min(axis=1)) / unit
        order = np.argsort(distances, axis=1, kind="stable")[:, :count]
        pairs += [
            [Pair(fake, int(i), float(distances[row, i])) for i in order[row]]
            for row, fake in enumerate(range(rows.start, rows.stop))
        ]
    return Neighbours(pairs, float(np.quantile(reference, TOO_NEAR)) / unit)


def _views(
    training: npt.ArrayLike, fake: npt.ArrayLike, mirrored: npt.ArrayLike | None
) -> tuple[list[Array], Array]:
    """Check and scale the features; return the views of the training set, and the fakes (m, d).

    The views are a list. The first entry has the features (n, d) of the training pictures. If
    `mirrored` is given, the second entry has the features (n, d) of the mirror images.
    """
    real, fakes = check_feature_pair(training, fake, ("training", "fake"))
    flipped = real if mirrored is None else check_feature_pair(real, mirrored)[1]
    if len(flipped) != len(real):
        raise ValueError(
            f"mirrored must have as many rows as training (got {len(flipped)} and {len(real)})"
        )
    real, fakes, flipped = normalise_together(real, fakes, flipped)
    return ([real] if mirrored is None else [real, flipped]), fakes


def _reference(views: list[Array], images: Array) -> Array:
    """Return the distance (n,) of each training picture to the nearest other training picture.

    The arguments are as in `_squares_to_others`. Raises ValueError if all training pictures are
    equal.
    """
    squares = _squares_to_others(views, images)
    if not np.isfinite(squares).all():
        raise ValueError("the training pictures must not all be equal")
    return np.sqrt(squares)


def _squares_to_others(views: list[Array], images: Array) -> Array:
    """Return the squared distance (n,) of each picture to the nearest other picture.

    views: the result of `_views`. images: the rows of all arrays in `views`, joined. Duplicates and
    mirror images of a picture do not count as other pictures. If a picture has no other picture,
    the distance is infinite.
    """
    first = views[0]
    same = _SAME * float(np.einsum("id,id->", first, first)) / len(first)
    to_others = np.empty(len(first))
    for blocks in zip(*(squared_distances(view, images) for view in views), strict=True):
        rows, squares = blocks[0]
        itself = np.logical_or.reduce([block <= same for _, block in blocks])
        to_others[rows] = np.where(itself, np.inf, squares).min(axis=1)
    return to_others
