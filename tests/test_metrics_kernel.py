"""The kernel distance against the definition, two published implementations and simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cleanfid.fid import kernel_distance as clean_fid_kernel_distance
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_kid import kernel_poly, kid_features_to_metric

from fastgan_ray.metrics import kernel as kernel_module
from fastgan_ray.metrics.kernel import kernel_distance


def features(n, d, seed, shift=0.0, spread=1.0):
    """Correlated, positive features with heavy tails, as a network's are."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(d, d)) / np.arange(1, d + 1)
    rows = 0.4 + shift + spread * (rng.standard_t(6, size=(n, d)) @ mixing.T)
    return np.maximum(rows, 0)


def by_definition(real, fake):
    """Gretton et al. 2012, eq. 3, one pair at a time."""

    def kernel(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    n, m = len(real), len(fake)
    within = sum(kernel(real[i], real[j]) for i in range(n) for j in range(n) if i != j)
    other = sum(kernel(fake[i], fake[j]) for i in range(m) for j in range(m) if i != j)
    cross = sum(kernel(a, b) for a in real for b in fake)
    return within / (n * (n - 1)) + other / (m * (m - 1)) - 2 * cross / (n * m)


def jackknife(statistic, rows):
    values = [statistic(np.delete(rows, i, axis=0)) for i in range(len(rows))]
    return (len(rows) - 1) * np.var(values)


def value_and_error(real, fake):
    value, _, error = kernel_distance(real, fake)
    return value, error


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 5), st.integers(0, 2**31))
def test_equals_the_definition(n, m, d, seed):
    real, fake = features(n, d, seed), features(m, d, seed + 1, shift=0.2)
    value, error = value_and_error(real, fake)
    assert value == pytest.approx(by_definition(real, fake), rel=1e-10, abs=1e-12)
    assert np.isfinite(error) and error >= 0
    assert value_and_error(fake, real) == pytest.approx((value, error), rel=1e-9, abs=1e-12)


def test_a_picture_and_its_mirror_image_are_no_pair(monkeypatch):
    """Against the mean over all pairs of different pictures, with all their views."""
    monkeypatch.setattr(kernel_module, "_BLOCK", 4)
    real, mirrored, fake = features(9, 5, 1), features(9, 5, 2), features(7, 5, 3, shift=0.2)
    views = np.stack([real, mirrored], axis=1)

    def kernel(a, b):
        return ((a @ b.T / 5 + 1) ** 3).mean()

    within = [kernel(views[i], views[j]) for i in range(9) for j in range(9) if i != j]
    other = [kernel(fake[i : i + 1], fake[j : j + 1]) for i in range(7) for j in range(7) if i != j]
    expected = np.mean(within) + np.mean(other) - 2 * kernel(views.reshape(18, 5), fake)
    value, over_fakes, over_both = kernel_distance(real, fake, mirrored)
    assert value == pytest.approx(expected, rel=1e-10)
    assert 0 < over_fakes < over_both
    # Mirror images that look the same add nothing.
    assert kernel_distance(real, fake, real) == pytest.approx(kernel_distance(real, fake))


def test_with_mirror_images_equal_distributions_are_at_a_distance_of_about_0():
    rng = np.random.default_rng(0)
    values = []
    for _ in range(60):
        base = rng.normal(size=(12, 1, 6))
        views = base + 0.3 * rng.normal(size=(12, 2, 6))
        fakes = rng.normal(size=(40, 6)) + 0.3 * rng.normal(size=(40, 6))
        values.append(kernel_distance(views[:, 0], fakes, views[:, 1])[0])
    assert abs(np.mean(values)) < 3 * np.std(values) / 60**0.5


@pytest.mark.parametrize("n", [40, 300])
def test_equals_torch_fidelity_and_clean_fid_on_sets_of_one_size(n):
    real, fake = features(n, 64, 1), features(n, 64, 2, shift=0.1)
    value, _, _ = kernel_distance(real, fake)
    settings = {"kid_subsets": 1, "kid_subset_size": n, "rng_seed": 0, "verbose": False}
    settings |= {"kid_kernel": "poly", "kid_kernel_poly_degree": 3}
    settings |= {"kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
    theirs = kid_features_to_metric(torch.tensor(real), torch.tensor(fake), **settings)
    assert value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-10)
    clean_fid = clean_fid_kernel_distance(real, fake, num_subsets=1, max_subset_size=n)
    assert value == pytest.approx(clean_fid, rel=1e-10)


def test_sets_of_different_sizes_and_more_than_a_block(monkeypatch):
    real, fake = features(70, 20, 3), features(45, 20, 4, shift=0.1)
    whole = kernel_distance(real, fake)
    monkeypatch.setattr(kernel_module, "_BLOCK", 16)
    assert kernel_distance(real, fake) == pytest.approx(whole, rel=1e-9)
    arguments = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_coef0": 1.0}
    arguments["kid_kernel_poly_gamma"] = None
    within, other = kernel_poly(real, real, **arguments), kernel_poly(fake, fake, **arguments)
    cross = kernel_poly(real, fake, **arguments).mean()
    expected = within.sum() - np.trace(within), other.sum() - np.trace(other)
    assert whole[0] == pytest.approx(expected[0] / 70 / 69 + expected[1] / 45 / 44 - 2 * cross)


def test_far_apart_the_error_is_the_jackknifes():
    # Single rows cause nearly all of the variance there, pairs of rows a little.
    real, fake = features(30, 8, 5), features(24, 8, 6, shift=1.5)
    _, over_fakes, over_both = kernel_distance(real, fake)
    fakes = jackknife(lambda rows: kernel_distance(real, rows)[0], fake)
    reals = jackknife(lambda rows: kernel_distance(rows, fake)[0], real)
    assert over_fakes == pytest.approx(np.sqrt(fakes), rel=0.04)
    assert over_both == pytest.approx(np.sqrt(fakes + reals), rel=0.04)
    assert over_fakes**2 <= fakes and over_both**2 <= fakes + reals


def test_a_set_of_three_rows_has_the_plain_jackknifes_error():
    # Three rows cannot show what pairs add; the other set's share of it is then all there is.
    real, fake = features(3, 4, 7), features(3, 4, 8, shift=0.5)
    _, over_fakes, _ = kernel_distance(real, fake)
    expected = jackknife(lambda rows: kernel_distance(real, rows)[0], fake)
    assert over_fakes == pytest.approx(np.sqrt(expected), rel=1e-9)


@pytest.mark.parametrize(
    ("n", "m", "shift", "low", "high"),
    [(60, 150, 0.3, 0.85, 1.15), (60, 150, 0.0, 0.9, 1.5), (15, 15, 0.2, 0.85, 1.3)],
)
def test_errors_are_the_spread_over_new_draws(n, m, shift, low, high):
    # Between equal distributions the error may be too large by a fifth to a third, never too small.
    draws = 250
    both, fakes = [], []
    fixed = features(n, 16, 10**6)
    for draw in range(draws):
        fake = features(m, 16, 2 * draw, shift)
        value, _, error = kernel_distance(features(n, 16, 2 * draw + 1), fake)
        both.append((value, error))
        fakes.append(kernel_distance(fixed, fake)[:2])
    for sample in (both, fakes):
        values, errors = np.array(sample).T
        assert low < np.sqrt(np.mean(errors**2)) / np.std(values, ddof=1) < high
    values, errors = np.array(both).T
    if shift == 0:  # unbiased
        assert abs(values.mean()) < 3 * values.std() / np.sqrt(draws)


def test_a_set_against_itself_is_a_little_below_zero():
    # Unbiased for fresh draws, hence not 0: the mean of all pairs holds each row with itself.
    real = features(50, 10, 9)
    kernel = (real @ real.T / 10 + 1) ** 3
    expected = 2 * ((kernel.sum() - np.trace(kernel)) / (50 * 49) - kernel.mean())
    value, error = value_and_error(real, real)
    assert value == pytest.approx(expected, rel=1e-9) and value < 0 < error


def test_degenerate_sets():
    point = np.ones((5, 4))
    assert value_and_error(point, point) == pytest.approx((0, 0), abs=1e-14)
    assert value_and_error(np.zeros((2, 3)), np.zeros((7, 3))) == (0, 0)
    value, error = value_and_error(point, 2 * point)
    assert value == pytest.approx(8 + 125 - 2 * 27) and error == pytest.approx(0, abs=1e-6)


def test_huge_and_tiny_values():
    real, fake = features(12, 6, 10), features(9, 6, 11, shift=0.5)
    huge = value_and_error(real * 1e40, fake * 1e40)
    cubic = value_and_error(real * 1e6, fake * 1e6)  # there the + 1 no longer matters
    assert huge == pytest.approx((cubic[0] * 1e204, cubic[1] * 1e204), rel=1e-9)
    assert value_and_error(real * 1e-160, fake * 1e-160) == pytest.approx((0, 0), abs=1e-8)
    with pytest.raises(
        ValueError, match=r"at most 1e\+50, because the kernel cubes them \(got .*e\+60\)"
    ):
        value_and_error(real * 1e60, fake)


def test_float32_is_not_summed_in_float32():
    real, fake = features(40, 30, 12).astype(np.float32), features(40, 30, 13).astype(np.float32)
    assert value_and_error(real, fake) == value_and_error(real.astype(float), fake.astype(float))


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (np.ones((1, 3)), np.ones((5, 3)), r"real must have at least 2 rows \(got 1\)"),
        (np.ones((5, 3)), np.ones((5, 4)), r"the same number of columns \(got 3 and 4\)"),
        (np.ones((5, 3)), np.full((5, 3), np.inf), r"fake must be finite \(got inf at row 0"),
    ],
)
def test_refuses(real, fake, message):
    with pytest.raises(ValueError, match=message):
        value_and_error(real, fake)
