"""Precision, recall, density and coverage against the definitions and published code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_prc import prc_features_to_metric

from fastgan_ray.metrics import distances
from fastgan_ray.metrics.manifold import precision_recall_density_coverage


def features(n, d, seed, shift=0.0, spread=1.0):
    return np.random.default_rng(seed).normal(size=(n, d)) * spread + shift


def by_definition(real, fake, k):
    """Ball by ball and row by row."""

    def radius(rows, i):
        apart = np.linalg.norm(rows - rows[i], axis=1)
        return np.sort(np.delete(apart, i))[k - 1]

    def inside(rows, points):
        radii = [radius(rows, i) for i in range(len(rows))]
        return np.array(
            [
                [np.linalg.norm(point - row) <= r for point in points]
                for row, r in zip(rows, radii, strict=True)
            ]
        )

    reals, fakes = inside(real, fake), inside(fake, real)
    return {
        "precision": reals.any(axis=0).mean(),
        "recall": fakes.any(axis=0).mean(),
        "density": reals.sum() / (k * len(fake)),
        "coverage": reals.any(axis=1).mean(),
    }


@settings(max_examples=40, deadline=None)
@given(
    st.integers(6, 20),
    st.integers(6, 20),
    st.integers(1, 6),
    st.integers(1, 5),
    st.integers(0, 2**31),
)
def test_equals_the_definition(n, m, d, k, seed):
    real, fake = features(n, d, seed), features(m, d, seed + 1, shift=0.4, spread=0.8)
    result = precision_recall_density_coverage(real, fake, k)
    assert result == pytest.approx(by_definition(real, fake, k), abs=1e-12)


@pytest.mark.parametrize("k", [3, 5])
def test_precision_and_recall_are_torch_fidelitys(k):
    real, fake = features(300, 16, 1), features(200, 16, 2, shift=0.2, spread=0.8)
    ours = precision_recall_density_coverage(real, fake, k)
    theirs = prc_features_to_metric(
        torch.tensor(fake),
        torch.tensor(real),
        prc_neighborhood=k,
        prc_batch_size=64,
        save_cpu_ram=True,
        verbose=False,
    )
    assert 0.1 < ours["recall"] < ours["precision"] < 1
    # torch-fidelity takes its means in float32.
    assert ours["precision"] == pytest.approx(theirs["precision"], abs=1e-6)
    assert ours["recall"] == pytest.approx(theirs["recall"], abs=1e-6)


def test_blocks_make_no_difference(monkeypatch):
    real, fake = features(90, 8, 3), features(70, 8, 4, shift=0.3)
    whole = precision_recall_density_coverage(real, fake)
    monkeypatch.setattr(distances, "_BLOCK", 16)
    assert precision_recall_density_coverage(real, fake) == whole


def test_fresh_draws_of_one_distribution_have_the_expected_values():
    real, fake = features(1500, 12, 5), features(1500, 12, 6)
    result = precision_recall_density_coverage(real, fake)
    assert result["density"] == pytest.approx(1, abs=0.05)
    assert result["coverage"] == pytest.approx(1 - 2**-5, abs=0.02)


def test_each_fault_shows_where_it_should():
    real = np.vstack([features(100, 4, 7), features(100, 4, 8, shift=30)])
    one_mode = precision_recall_density_coverage(real, features(200, 4, 9))
    assert one_mode["precision"] > 0.9 and one_mode["recall"] < 0.55 and one_mode["coverage"] < 0.55
    junk = np.vstack([features(100, 4, 10), features(100, 4, 11, shift=-500)])
    result = precision_recall_density_coverage(real[:100], junk)
    assert result["precision"] < 0.55 and result["coverage"] > 0.85
    elsewhere = precision_recall_density_coverage(real, features(200, 4, 12, shift=-500))
    assert set(elsewhere.values()) == {0.0}


def test_copies_of_the_reals():
    real = features(40, 10, 13) * 3 + 100
    result = precision_recall_density_coverage(real, real[::-1])
    # A copy lies in its original's ball and on the surface or inside of k others on average.
    assert result == pytest.approx({"precision": 1, "recall": 1, "density": 1.2, "coverage": 1})


@pytest.mark.parametrize("offset", [0, 1, 1e4])
def test_duplicated_rows(offset):
    # More copies than k: balls of radius 0, which rounding must not empty.
    real = np.repeat(features(6, 50, 14) + offset, 7, axis=0)
    fake = np.repeat(real[:21], 2, axis=0)
    result = precision_recall_density_coverage(real, fake)
    expected = {"precision": 1, "recall": 0.5, "density": 7 / 5, "coverage": 0.5}
    assert result == pytest.approx(expected)


def test_all_alike():
    point = np.ones((8, 3))
    result = precision_recall_density_coverage(point, point)
    assert result == pytest.approx({"precision": 1, "recall": 1, "density": 8 / 5, "coverage": 1})
    assert set(precision_recall_density_coverage(point, 2 * point).values()) == {0.0}
    zeros = precision_recall_density_coverage(np.zeros((2, 3)), np.zeros((9, 3)))
    assert zeros == pytest.approx({"precision": 1, "recall": 1, "density": 2 / 5, "coverage": 1})


def test_sets_smaller_than_k_reach_to_the_farthest_row():
    real, fake = np.array([[0.0], [1]]), np.array([[0.5], [3]])
    result = precision_recall_density_coverage(real, fake)
    assert result == by_definition(real, fake, 1) | {"density": 2 / (5 * 2)}
    few = precision_recall_density_coverage(features(4, 3, 15), features(30, 3, 16))
    assert all(0 <= value <= 1 for value in few.values())


@pytest.mark.parametrize("scale", [1e-200, 1e-5, 1e150, 1e300])
def test_scale_makes_no_difference(scale):
    real, fake = features(30, 5, 17), features(25, 5, 18, shift=0.3)
    result = precision_recall_density_coverage(real * scale, fake * scale)
    assert result == precision_recall_density_coverage(real, fake)


@pytest.mark.parametrize(
    ("real", "fake", "k", "message"),
    [
        (np.ones((1, 3)), np.ones((5, 3)), 5, r"real must have at least 2 rows \(got 1\)"),
        (np.ones((5, 3)), np.ones((5, 4)), 5, r"the same number of columns \(got 3 and 4\)"),
        (np.full((5, 3), np.nan), np.ones((5, 3)), 5, r"real must be finite \(got nan at row 0"),
        (np.ones((5, 3)), np.ones((5, 3)), 0, r"k must be at least 1 \(got 0\)"),
    ],
)
def test_refuses(real, fake, k, message):
    with pytest.raises(ValueError, match=message):
        precision_recall_density_coverage(real, fake, k)
