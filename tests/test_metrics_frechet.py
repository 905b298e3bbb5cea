"""The Frechet distance against closed forms, its slow definition and its invariances."""

from __future__ import annotations

from types import SimpleNamespace

import cleanfid.fid
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from fastgan_ray.metrics import frechet as frechet_module
from fastgan_ray.metrics.frechet import frechet_distance, frechet_distance_with_errors


def by_definition(real, fake):
    """The formula as published, by the general matrix square root."""
    difference = real.mean(axis=0) - fake.mean(axis=0)
    s1, s2 = np.atleast_2d(np.cov(real.T)), np.atleast_2d(np.cov(fake.T))
    root = linalg.sqrtm(s1 @ s2)
    return difference @ difference + np.trace(s1) + np.trace(s2) - 2 * np.trace(root).real


def features(n, d, seed, shift=0.0):
    """Correlated, unequally scaled features, as a network's are."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(d, d)) * np.linspace(0.1, 2, d)
    return rng.normal(size=(n, d)) @ mixing + rng.normal(size=d) * shift


@pytest.mark.parametrize(("n", "m", "d"), [(40, 60, 12), (200, 90, 30), (31, 400, 30), (12, 13, 1)])
def test_equals_the_definition_above_full_rank(n, m, d):
    real, fake = features(n, d, 1), features(m, d, 2, shift=0.5)
    assert frechet_distance(real, fake) == pytest.approx(by_definition(real, fake), rel=1e-9)


@pytest.mark.parametrize(("n", "m", "d"), [(10, 200, 64), (300, 20, 64), (20, 30, 64), (2, 2, 5)])
def test_equals_the_definition_below_full_rank(n, m, d):
    # sqrtm itself is only good to about half the digits of a singular product.
    real, fake = features(n, d, 3), features(m, d, 4, shift=0.5)
    assert frechet_distance(real, fake) == pytest.approx(by_definition(real, fake), rel=1e-6)


@pytest.fixture
def clean_fid(monkeypatch):
    """clean-fid's distance; only its call sqrtm(a, disp=False) is put as SciPy now takes it."""

    def sqrtm(matrix, disp=True):
        root = linalg.sqrtm(matrix)
        return root if disp else (root, None)

    monkeypatch.setattr(cleanfid.fid, "linalg", SimpleNamespace(sqrtm=sqrtm))
    return cleanfid.fid.fid_from_feats


@pytest.mark.parametrize(("n", "m", "d"), [(400, 300, 96), (100, 300, 96), (40, 300, 96)])
def test_equals_clean_fid(clean_fid, n, m, d):
    real = np.maximum(features(n, d, 14) / 10 + 0.3, 0)
    fake = np.maximum(features(m, d, 15, shift=0.5) / 10 + 0.3, 0)
    assert frechet_distance(real, fake) == pytest.approx(clean_fid(real, fake), rel=1e-6)


@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 60), (60, 200, 90)])
def test_the_fast_and_the_accurate_way_agree(monkeypatch, n, m, d):
    real, fake = features(n, d, 16), features(m, d, 17, shift=0.5)
    with monkeypatch.context() as patch:
        patch.setattr(frechet_module, "_nuclear_norm", None)  # not called
        quick = frechet_distance(real, fake)
    monkeypatch.setattr(frechet_module, "_TOLERANCE", -1.0)
    assert frechet_distance(real, fake) == pytest.approx(quick, rel=1e-11)


def test_the_fast_way_is_not_used_where_it_cancels(monkeypatch):
    # Almost the same set again: the distance is 1e-12 of the traces it is the difference of.
    real = features(300, 40, 18)
    near = real + 1e-6 * features(300, 40, 19)
    monkeypatch.setattr(frechet_module, "_quick_nuclear_norm", lambda x, y: (0.0, np.inf))
    exact = frechet_distance(real, near)
    monkeypatch.undo()
    assert frechet_distance(real, near) == exact


def test_rank_one_closed_form():
    # Two points a distance apart have variance a^2 / 2 along one axis and none along the others.
    real = np.array([[0.0, 0, 0], [4, 0, 0]])
    fake = np.array([[1.0, 0, 0], [7, 0, 0]])
    expected = (2 - 4) ** 2 + (np.sqrt(8) - np.sqrt(18)) ** 2
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-14)
    across = np.array([[2.0, -3, 0], [2, 3, 0]])
    assert frechet_distance(real, across) == pytest.approx(8 + 18, rel=1e-14)


def test_gaussians_with_commuting_covariances_closed_form():
    # Exactly whitened samples have the covariances that the closed form speaks of.
    rng = np.random.default_rng(5)
    sample = rng.normal(size=(50, 6))
    sample -= sample.mean(axis=0)
    white = sample @ np.linalg.inv(np.linalg.cholesky(np.cov(sample.T))).T
    a, b = np.array([1.0, 2, 3, 0, 5, 0.1]), np.array([2.0, 2, 1, 4, 0, 0.3])
    mean = np.arange(6.0)
    expected = np.sum(mean**2) + np.sum((a - b) ** 2)
    assert frechet_distance(white * a, white * b + mean) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "d"), [(2, 7), (30, 100), (100, 30)])
def test_identical_sets_have_none(n, d):
    real = features(n, d, 6, shift=3)
    spread = float(np.trace(np.atleast_2d(np.cov(real.T))))
    distance = frechet_distance(real, real)
    assert 0 <= distance <= 1e-12 * spread
    shuffled = real[np.random.default_rng(0).permutation(n)]
    assert 0 <= frechet_distance(real, shuffled) <= 1e-12 * spread


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 10), st.integers(0, 2**31), st.data())
def test_is_symmetric_rotation_and_translation_invariant_and_homogeneous(n, m, d, seed, data):
    real, fake = features(n, d, seed, 1), features(m, d, seed + 1, 1)
    distance = frechet_distance(real, fake)
    tolerance = {"rel": 1e-9, "abs": 1e-9 * float(np.var(real) + np.var(fake)) * d}
    assert frechet_distance(fake, real) == pytest.approx(distance, **tolerance)
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    moved = rng.normal(size=d)
    turned = frechet_distance(real @ rotation + moved, fake @ rotation + moved)
    assert turned == pytest.approx(distance, **tolerance)
    scale = 10.0 ** data.draw(st.integers(-6, 6))
    tolerance["abs"] *= scale**2
    assert frechet_distance(real * scale, fake * scale) == pytest.approx(
        distance * scale**2, **tolerance
    )


def test_extreme_scales_neither_overflow_nor_vanish():
    real, fake = features(20, 8, 7), features(30, 8, 8, shift=1)
    distance = frechet_distance(real, fake)
    assert frechet_distance(real * 1e150, fake * 1e150) == pytest.approx(distance * 1e300, rel=1e-9)
    tiny = frechet_distance(real * 1e-140, fake * 1e-140)
    assert tiny == pytest.approx(distance * 1e-280, rel=1e-9)


def test_degenerate_sets():
    point = np.ones((5, 4))
    assert frechet_distance(point, point) == 0
    assert frechet_distance(np.zeros((2, 3)), np.zeros((9, 3))) == 0
    assert frechet_distance(point, point + 2) == pytest.approx(16, rel=1e-14)
    cloud = features(9, 4, 9)
    expected = np.sum((cloud.mean(axis=0) - 1) ** 2) + np.trace(np.cov(cloud.T))
    assert frechet_distance(point, cloud) == pytest.approx(expected, rel=1e-12)


def test_dead_features_and_duplicated_rows():
    # Singular covariances with more rows than columns: where a Cholesky form needs a jitter.
    real, fake = features(80, 10, 10), features(90, 10, 11, shift=1)
    dead = np.zeros((1, 5))
    wide = frechet_distance(
        np.hstack([real, real, dead.repeat(80, 0)]), np.hstack([fake, fake, dead.repeat(90, 0)])
    )
    assert wide == pytest.approx(2 * frechet_distance(real, fake), rel=1e-10)
    twice, n = np.vstack([real[:6]] * 2), 6
    # Duplicating every row keeps the mean and shrinks the unbiased covariance by this factor.
    shrunk = real[:6].mean(axis=0) + (real[:6] - real[:6].mean(axis=0)) * np.sqrt(
        2 * (n - 1) / (2 * n - 1)
    )
    assert frechet_distance(twice, fake) == pytest.approx(frechet_distance(shrunk, fake), rel=1e-10)


def test_takes_float32_without_losing_precision_to_it():
    real, fake = features(30, 50, 12).astype(np.float32), features(40, 50, 13).astype(np.float32)
    exact = frechet_distance(real.astype(np.float64), fake.astype(np.float64))
    assert frechet_distance(real, fake) == exact


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (np.ones((1, 3)), np.ones((5, 3)), r"real_features must have at least 2 rows.*got 1"),
        (np.ones((5, 3)), np.ones((0, 3)), r"fake_features must have at least 2 rows.*got 0"),
        (np.ones((5, 3)), np.ones((5, 4)), r"the same number of columns \(got 3 and 4\)"),
        (np.ones(5), np.ones((5, 1)), r"real_features must have shape .*got \(5,\)"),
        (np.ones((5, 0)), np.ones((5, 0)), r"real_features must have shape .*got \(5, 0\)"),
        (
            np.ones((3, 2)),
            np.array([[1, 2], [3, np.nan], [np.inf, 1]]),
            r"fake_features must be finite \(got nan at row 1, column 1; 2 non-finite values\)",
        ),
    ],
)
def test_refuses(real, fake, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(real, fake)


def jackknife(statistic, rows):
    values = [statistic(np.delete(rows, i, axis=0)) for i in range(len(rows))]
    return (len(rows) - 1) * np.var(values)


@pytest.mark.parametrize(
    ("n", "m", "d"),
    [(10, 30, 50), (30, 40, 8), (6, 90, 20), (50, 9, 20), (3, 3, 9), (3, 40, 1), (12, 12, 12)],
)
def test_errors_are_the_delete_one_jackknifes(n, m, d):
    real, fake = features(n, d, 20), features(m, d, 21, shift=0.5)
    value, over_fakes, over_both = frechet_distance_with_errors(real, fake)
    assert value == pytest.approx(frechet_distance(real, fake), rel=1e-9)
    fakes = jackknife(lambda rows: frechet_distance(real, rows), fake)
    reals = jackknife(lambda rows: frechet_distance(rows, fake), real)
    assert over_fakes == pytest.approx(np.sqrt(fakes), rel=1e-5)
    assert over_both == pytest.approx(np.sqrt(fakes + reals), rel=1e-5)


def test_errors_with_duplicated_rows_and_dead_features():
    real = np.repeat(features(9, 12, 22), 2, axis=0)
    fake = features(30, 12, 23, shift=0.5)
    real[:, :3], fake[:, 2:4] = 0, 0
    _, over_fakes, over_both = frechet_distance_with_errors(real, fake)
    fakes = jackknife(lambda rows: frechet_distance(real, rows), fake)
    reals = jackknife(lambda rows: frechet_distance(rows, fake), real)
    assert over_fakes == pytest.approx(np.sqrt(fakes), rel=1e-5)
    assert over_both == pytest.approx(np.sqrt(fakes + reals), rel=1e-5)


@pytest.mark.parametrize(
    ("n", "m", "d", "shift", "high"),
    [
        (30, 100, 120, 0.3, 1.2),  # fewer pictures than features, few of them real
        (60, 60, 16, 0.5, 1.2),
        (30, 100, 120, 0.0, 1.7),  # one distribution: an upper bound
    ],
)
def test_errors_are_the_spread_over_new_draws(n, m, d, shift, high):
    def draw(count, seed, shift=0.0):
        # A network's features: a falling spectrum, and pictures of unequal contrast.
        rng = np.random.default_rng(seed)
        contrast = np.exp(0.3 * rng.normal(size=(count, 1)))
        return (rng.normal(size=(count, d)) * contrast + shift) / np.sqrt(np.arange(1, d + 1))

    both, fakes = [], []
    fixed = draw(n, 10**6)
    for index in range(200):
        fake = draw(m, 2 * index, shift)
        value, _, error = frechet_distance_with_errors(draw(n, 2 * index + 1), fake)
        both.append((value, error))
        fakes.append(frechet_distance_with_errors(fixed, fake)[:2])
    for sample in (both, fakes):
        values, errors = np.array(sample).T
        assert 0.8 < np.sqrt(np.mean(errors**2)) / np.std(values, ddof=1) < high


@pytest.mark.parametrize(("n", "m", "d"), [(12, 40, 50), (30, 50, 8), (40, 30, 16)])
def test_a_picture_and_its_mirror_image_are_left_out_together(n, m, d):
    real, fake = features(n, d, 27), features(m, d, 28, shift=0.5)
    mirrored = 0.9 * real + 0.4 * features(n, d, 29)
    reals = np.concatenate([real, mirrored])
    value, over_fakes, over_both = frechet_distance_with_errors(real, fake, mirrored)
    alone = frechet_distance_with_errors(reals, fake)
    assert (value, over_fakes) == pytest.approx(alone[:2], rel=1e-9)
    without_pairs = [frechet_distance(np.delete(reals, [i, n + i], axis=0), fake) for i in range(n)]
    expected = np.sqrt(over_fakes**2 + (n - 1) * np.var(without_pairs))
    assert over_both == pytest.approx(expected, rel=0.1)
    assert over_both > 1.1 * alone[2]  # pictures and mirror images are no independent pictures


def test_mirror_images_must_be_as_many_as_the_pictures():
    real, fake = features(5, 4, 30), features(6, 4, 31)
    with pytest.raises(ValueError, match=r"mirrored_features: .* \(5, 4\) \(got \(4, 4\)\)"):
        frechet_distance_with_errors(real, fake, real[:4])


def test_errors_scale_with_the_features():
    real, fake = features(20, 8, 24), features(30, 8, 25, shift=1)
    measured = np.array(frechet_distance_with_errors(real, fake))
    huge = np.array(frechet_distance_with_errors(real * 1e150, fake * 1e150))
    assert huge == pytest.approx(measured * 1e300, rel=1e-9)


def test_errors_of_degenerate_sets():
    point = np.ones((5, 4))
    assert frechet_distance_with_errors(point, point) == (0, 0, 0)
    assert frechet_distance_with_errors(point, point + 2) == pytest.approx((16, 0, 0), abs=1e-12)
    pair, cloud = np.array([[0.0, 0], [2, 0]]), features(9, 2, 26)
    value, over_fakes, over_both = frechet_distance_with_errors(cloud, pair)
    assert value == pytest.approx(frechet_distance(cloud, pair))
    assert 0 < over_fakes < over_both < np.inf
    assert np.isfinite(frechet_distance_with_errors(pair, pair)).all()
    with pytest.raises(ValueError, match=r"fake_features must be finite"):
        frechet_distance_with_errors(cloud, pair * np.nan)
