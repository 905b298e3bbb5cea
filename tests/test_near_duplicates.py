"""Near duplicates, outliers, clusters and half against half, on made-up features."""

from __future__ import annotations

import numpy as np
import pytest

from fastgan_ray.metrics.halves import half_against_half
from fastgan_ray.metrics.near_duplicates import (
    clusters,
    distances,
    near_duplicates,
    outliers,
    with_mirrored,
)


def cloud(count: int, dims: int = 30, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dims))


def test_distances_are_euclidean():
    rows = cloud(5)
    for i in range(5):
        for j in range(5):
            expected = np.inf if i == j else np.linalg.norm(rows[i] - rows[j])
            assert distances(rows)[i, j] == pytest.approx(expected)


def test_near_duplicates_by_features_or_by_sketch():
    rows, sketches = cloud(20), np.random.default_rng(1).uniform(0, 255, (20, 12))
    rows[7] = rows[3] + 0.01 * cloud(1, seed=5)[0]
    sketches[11] = sketches[2] + 1.0  # as after compression: the features are as usual
    between = distances(rows)
    rows[11] = rows[2] + (rows[11] - rows[2]) * np.median(between.min(1)) / between[2, 11]
    pairs = near_duplicates(distances(rows), sketches)
    assert [(pair.first, pair.second) for pair in pairs] == [(3, 7), (2, 11)]
    assert pairs[0].distance < 0.1 < 0.5 < pairs[1].distance
    others = np.random.default_rng(2).uniform(0, 255, (20, 12))
    assert near_duplicates(distances(cloud(20)), others) == []


def test_a_mirrored_picture_is_a_near_duplicate():
    rows, mirrored = cloud(20), cloud(20, seed=9)
    small, turned = (np.random.default_rng(seed).uniform(0, 255, (20, 12)) for seed in (1, 2))
    rows[7], mirrored[7], turned[7] = mirrored[3], rows[3], small[3]  # 7 is 3, mirrored
    between = distances(rows)
    assert near_duplicates(between, small) == []
    both = with_mirrored(between, rows, mirrored)
    assert np.array_equal(both, both.T) and np.isinf(np.diag(both)).all()
    (pair,) = near_duplicates(both, small, turned)
    assert (pair.first, pair.second, pair.distance) == (3, 7, 0.0)


def test_equal_pictures_are_near_duplicates():
    pairs = near_duplicates(distances(np.ones((3, 4))), np.zeros((3, 12)))
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 1), (0, 2), (1, 2)]


def test_outliers_are_the_far_ones():
    rows = cloud(40)
    rows[5] *= 6
    rows[9] *= 4
    assert outliers(distances(rows)) == [5, 9]
    assert outliers(distances(cloud(40))) == [] and outliers(distances(np.ones((4, 2)))) == []


@pytest.mark.parametrize("sizes", [(30, 20), (30, 20, 10), (12, 11, 10, 9)])
def test_clusters_that_are_clear(sizes):
    groups = [cloud(size, seed=n) + 6 * np.eye(30)[n] for n, size in enumerate(sizes)]
    parts = clusters(np.concatenate(groups))
    assert [len(part) for part in parts] == list(sizes)
    starts = np.cumsum([0, *sizes])
    for part, low, high in zip(parts, starts[:-1], starts[1:], strict=True):
        assert sorted(part) == list(range(low, high))


def test_one_cluster_if_none_is_clear_or_there_are_few():
    (one,) = clusters(cloud(60))
    assert sorted(one) == list(range(60))
    centre = np.linalg.norm(cloud(60) - cloud(60).mean(0), axis=1)
    assert one[0] == centre.argmin() and one[-1] == centre.argmax()
    assert len(clusters(cloud(5))) == 1 and len(clusters(np.ones((40, 3)))) == 1


def test_halves_of_one_distribution_and_mirror_images_of_another():
    rows = cloud(80, 20)
    same = half_against_half(rows, rows[::-1])
    assert same.half == 40 and same.fd > 0 and same.fd_sd > 0
    assert abs(same.kd) < 2 * same.kd_sd and not same.has_direction
    turned = half_against_half(rows, rows + 1.0)
    assert turned.has_direction and turned.mirror_kd > 2 * turned.mirror_kd_sd
    assert half_against_half(rows, rows) == half_against_half(rows, rows)
