"""Memorisation, diversity and the Inception score, on sets whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric

from fastgan_ray.metrics import memorisation as measures
from fastgan_ray.metrics.diversity import diversity
from fastgan_ray.metrics.inception_score import inception_score
from fastgan_ray.metrics.memorisation import nearest_training, neighbours


def draw(n, d=16, seed=0, spread=1.0):
    return np.random.default_rng(seed).normal(5, spread, (n, d))


def memorisation(*sets):
    return measures.memorisation(nearest_training(*sets))


def closest_pairs(*sets, count=16):
    return measures.closest_pairs(nearest_training(*sets), count)


# --- memorisation


def test_new_pictures_of_the_same_kind_are_as_near_as_reals_are():
    metrics = [memorisation(draw(100, seed=i), draw(400, seed=i + 50)) for i in range(20)]
    assert np.mean([row["nearest_ratio"] for row in metrics]) == pytest.approx(1, abs=0.01)
    assert np.mean([row["memorised"] for row in metrics]) == pytest.approx(0.05, abs=0.02)


def test_copies_are_found_and_named():
    real = draw(60)
    chosen = np.random.default_rng(1).integers(0, 60, 30)
    metrics = memorisation(real, real[chosen] + 1e-9)
    assert metrics["memorised"] == 1 and metrics["nearest_ratio"] < 1e-6
    mixed = np.concatenate([draw(30, seed=2), real[chosen]])
    assert 0.5 <= memorisation(real, mixed)["memorised"] < 0.65
    pairs = closest_pairs(real, mixed, count=30)
    assert {pair.fake for pair in pairs} == set(range(30, 60))
    assert all(chosen[pair.fake - 30] == pair.training for pair in pairs)
    assert [pair.distance for pair in pairs] == sorted(pair.distance for pair in pairs)
    assert len(closest_pairs(real, mixed, count=1000)) == 60


def test_copies_of_mirror_images_are_copies():
    real, mirrored = draw(60), draw(60, seed=9)
    assert memorisation(real, mirrored)["memorised"] < 0.3
    metrics = memorisation(real, mirrored, mirrored)
    assert metrics["memorised"] == 1 and metrics["nearest_ratio"] < 1e-6
    assert [pair.training for pair in closest_pairs(real, mirrored[::-1], mirrored, count=60)] == [
        59 - pair.fake for pair in closest_pairs(real, mirrored[::-1], mirrored, count=60)
    ]


def test_a_pictures_own_mirror_image_is_not_another_picture():
    real = draw(40)
    # Symmetrical pictures: with their mirror images as neighbours every real would be a copy.
    metrics = memorisation(real, draw(40, seed=3), real + 1e-9)
    assert metrics == pytest.approx(memorisation(real, draw(40, seed=3)))


@pytest.mark.parametrize("copies", [2, 7])
def test_duplicates_in_the_training_set_do_not_hide_copies(copies):
    real, fake = draw(20), draw(10, seed=4)
    # A sixth digit of difference: the same picture through the network once more.
    often = np.concatenate([real * (1 + 1e-6 * i) for i in range(copies)])
    assert memorisation(often, fake) == pytest.approx(memorisation(real, fake), rel=1e-4)
    assert memorisation(often, real + 1e-9)["memorised"] == 1
    assert closest_pairs(often, real)[0].distance < 1e-4


def test_a_training_set_that_holds_its_mirror_images():
    real, mirrored, fake = draw(30), draw(30, seed=9) + 0.1, draw(10, seed=4)
    both, turned = np.concatenate([real, mirrored]), np.concatenate([mirrored, real])
    # Each real's mirror image is neither its other picture as such nor as another file.
    assert memorisation(both, fake, turned)["nearest_ratio"] == pytest.approx(
        memorisation_by_hand(both, fake, turned, pairs=30), rel=1e-9
    )


def memorisation_by_hand(real, fake, mirrored, pairs):
    def distances(a, b):
        return np.linalg.norm(a[:, None] - b[None], axis=2)

    reference = np.minimum(distances(real, real), distances(real, mirrored))
    index = np.arange(len(real)) % pairs
    reference[index[:, None] == index[None]] = np.inf
    to_fakes = np.minimum(distances(fake, real), distances(fake, mirrored)).min(axis=1)
    return to_fakes.mean() / reference.min(axis=1).mean()


def test_memorisation_by_the_plain_formula():
    real, mirrored, fake = draw(30), draw(30, seed=9), draw(10, seed=4)
    expected = memorisation_by_hand(real, fake, mirrored, pairs=30)
    assert memorisation(real, fake, mirrored)["nearest_ratio"] == pytest.approx(expected, rel=1e-9)
    assert memorisation(real, fake)["nearest_ratio"] == pytest.approx(
        memorisation_by_hand(real, fake, real, pairs=30), rel=1e-9
    )


@pytest.mark.parametrize("function", [nearest_training, neighbours])
def test_a_training_set_of_one_picture_is_refused(function):
    with pytest.raises(ValueError, match="the training pictures must not all be equal"):
        function(np.ones((5, 16)), draw(5))


@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_memorisation_does_not_depend_on_the_unit(scale):
    real, fake = draw(30), draw(20, seed=1)
    assert memorisation(real * scale, fake * scale) == pytest.approx(memorisation(real, fake))


# --- diversity


def test_diversity_is_one_for_new_pictures_and_zero_for_a_collapse():
    real = draw(300)
    for count in (5, 20, 100):
        ratios = [diversity(real, draw(count, seed=seed)) for seed in range(1, 41)]
        assert np.mean(ratios) == pytest.approx(1, abs=0.02)
    assert diversity(real, np.repeat(real[:1], 50, axis=0)) == 0
    assert diversity(real, draw(500, seed=2, spread=0.3)) == pytest.approx(0.3, rel=0.05)
    assert diversity(real, real) == pytest.approx(1, rel=1e-12)


def test_diversity_by_the_plain_formula():
    def plain(rows):
        pairs = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if i != j]
        return np.mean([np.linalg.norm(rows[i] - rows[j]) for i, j in pairs])

    real, fake = draw(9), draw(7, seed=5, spread=2.0)
    assert diversity(real, fake) == pytest.approx(plain(fake) / plain(real), rel=1e-12)


def test_reals_that_are_all_the_same_are_refused():
    with pytest.raises(ValueError, match="the rows of real must not all be equal"):
        diversity(np.ones((5, 3)), draw(5, 3))


# --- Inception score


@pytest.mark.parametrize(("n", "splits"), [(500, 10), (37, 10), (64, 1), (23, 4)])
def test_inception_score_is_torch_fidelitys(n, splits):
    logits = np.random.default_rng(n).normal(0, 3, (n, 50))
    theirs = isc_features_to_metric(torch.from_numpy(logits), splits, shuffle=False)
    mean, deviation = inception_score(logits, splits)
    assert mean == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    assert deviation == pytest.approx(theirs["inception_score_std"], rel=1e-6, abs=1e-9)


def test_inception_score_of_extreme_logits():
    one_hot = 1e4 * np.eye(20)
    assert inception_score(one_hot, 1) == pytest.approx((20, 0))
    assert inception_score(np.zeros((30, 5))) == pytest.approx((1, 0))
    assert inception_score(np.repeat(one_hot[:1], 20, axis=0)) == pytest.approx((1, 0))
    assert inception_score(one_hot[:3], splits=10)[0] == 1  # a picture a split


# --- all


@pytest.mark.parametrize("function", [nearest_training, neighbours, diversity])
@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (draw(5), draw(5, 8), "the same number of columns"),
        (draw(1), draw(5), "at least 2 rows"),
        (draw(5), np.full((4, 16), np.nan), "must be finite"),
        (draw(5), draw(5)[0], "shape"),
    ],
)
def test_bad_features_are_refused(function, real, fake, message):
    with pytest.raises(ValueError, match=message):
        function(real, fake)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="as many rows as training"):
        memorisation(draw(5), draw(5), draw(4))
    with pytest.raises(ValueError, match="splits must be at least 1"):
        inception_score(draw(5), 0)
    with pytest.raises(ValueError, match="at least 2 rows"):
        inception_score(draw(1))
