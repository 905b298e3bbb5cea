"""The Gaussian process of learning curves, against finite differences, dense algebra and draws."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from fastgan_ray.search.curves.acquisition import Actions, knowledge_gradient
from fastgan_ray.search.curves.choice import best_candidate, changed, fitted, pool_of, random_pool
from fastgan_ray.search.curves.features import encode
from fastgan_ray.search.curves.kernel import SHARED, Hyperparameters, squared_distances
from fastgan_ray.search.curves.posterior import Posterior, Rows, fit, loss, prior
from fastgan_ray.search.curves.trials import MAX_ROWS, Trial, rows_of
from fastgan_ray.search.file.read import spec_from_text

SPACE = spec_from_text(
    """
name: t
method: random
metric: {name: fd_efficientnet_lite0}
run_cap: 8
base: {eval: {extractor: efficientnet_lite0}}
parameters:
  train.lr_g: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}
  train.beta1: {min: 0.0, max: 0.8}
  train.batch_size: {values: [4, 8, 16]}
  augment.policy: {values: ["", color, "color,translation"]}
  train.loss: {values: [hinge, logistic]}
  train.r1_gamma: {min: 0.0, max: 10, when: {train.loss: logistic}}
""",
    "t.yaml",
).space
POINT = {
    "train.lr_g": 1e-3,
    "train.beta1": 0.2,
    "train.batch_size": 8,
    "augment.policy": "color",
    "train.loss": "hinge",
}


def columns(**changes):
    point = {**POINT, **{name.replace("__", "."): value for name, value in changes.items()}}
    return [part[0].tolist() for part in encode(SPACE, [point])]


def test_numbers_are_encoded_on_the_scale_of_their_distribution():
    rate, beta1, batch, policy, loss, r1 = columns()
    assert rate == pytest.approx([0.5]) and beta1 == pytest.approx([0.25])
    assert batch == pytest.approx([0.5])  # 8 is in the middle of 4, 8, 16 by ratio
    assert policy == pytest.approx([1 / math.sqrt(2), 0])  # color, translation
    assert sorted(loss) == pytest.approx([0, 1 / math.sqrt(2)])
    assert r1 == [0.5]  # inactive
    assert columns(train__loss="logistic", train__r1_gamma=10)[5] == [1.0]


def test_different_values_of_a_parameter_are_at_most_1_apart():
    rng = random.Random(0)
    points = [changed(SPACE, POINT, rng) for _ in range(50)]
    distances = squared_distances(encode(SPACE, points), encode(SPACE, points))
    assert distances.max() == pytest.approx(1)
    assert (distances.max(axis=(1, 2)) > 0).all()


def process(trials=7, seed=0):
    """Random points and rows, and hyperparameters near their prior."""
    rng = np.random.default_rng(seed)
    points = [rng.random((trials, width)) for width in (1, 2, 1)]
    index = np.repeat(np.arange(trials), 3)
    time = np.log(np.tile([0.2, 0.5, 1.0], trials))
    rows = Rows(index, time, rng.normal(size=len(index)) * 0.1, rng.random(len(index)) * 1e-3)
    means = prior(3).means
    return points, rows, Hyperparameters(means + 0.2 * rng.normal(size=len(means)))


def test_the_gradient_is_that_of_finite_differences():
    points, rows, hyper = process()
    squared = squared_distances(points, points)
    _, slope = loss(hyper.logs, prior(3), squared, rows)
    step = 1e-5
    for index, unit in enumerate(np.eye(len(hyper.logs))):
        above, _ = loss(hyper.logs + step * unit, prior(3), squared, rows)
        below, _ = loss(hyper.logs - step * unit, prior(3), squared, rows)
        assert slope[index] == pytest.approx((above - below) / (2 * step), abs=1e-5)


def obvious_covariance(hyper, first, second):
    """The covariance of two values (columns of the point, log-time, trial), term by term."""
    (point, time, trial), (other, other_time, other_trial) = first, second
    gap = abs(time - other_time)
    result = hyper.mean**2 + hyper.mean_change**2 * math.exp(-0.5 * (gap / hyper.mean_time) ** 2)
    parts = []
    for relevance, a, b in zip(hyper.relevances(), point, other, strict=True):
        scaled = math.sqrt(5) * math.dist(a, b) / hyper.length
        parts.append(relevance**2 * (1 + scaled + scaled**2 / 3) * math.exp(-scaled))
    pairs = sum(a * b for i, a in enumerate(parts) for b in parts[:i])
    effect = sum(parts) + hyper.pair**2 * pairs / (hyper.relevances() ** 2).sum()
    correlations = [part / r**2 for part, r in zip(parts, hyper.relevances(), strict=True)]
    effect += hyper.rest**2 * math.prod(correlations)
    smooth = math.exp(-0.5 * (gap / hyper.effect_time) ** 2)
    ratio = hyper.effect_change**2
    result += effect * (1 + ratio * smooth) / (1 + ratio)
    if trial == other_trial and trial >= 0:
        result += hyper.luck**2 + hyper.luck_change**2 * math.exp(-gap / hyper.luck_time)
    return result


def dense(points, rows, hyper):
    """The values' descriptions, and the covariance of the rows, computed one by one."""
    known = [
        ([part[trial] for part in points], time, trial)
        for trial, time in zip(rows.trial, rows.time, strict=True)
    ]
    matrix = np.array([[obvious_covariance(hyper, a, b) for b in known] for a in known])
    return known, matrix + np.diag(rows.variance + hyper.nugget**2 + 1e-9)


def test_the_posterior_is_that_of_dense_algebra():
    points, rows, hyper = process()
    known, matrix = dense(points, rows, hyper)
    asked = [([part[i] for part in points], 0.0, -1) for i in range(7)]
    cross = np.array([[obvious_covariance(hyper, a, b) for b in known] for a in asked])
    own = np.array([[obvious_covariance(hyper, a, b) for b in asked] for a in asked])
    mean = rows.value.mean() + cross @ np.linalg.solve(matrix, rows.value - rows.value.mean())
    covariance = own - cross @ np.linalg.solve(matrix, cross.T)
    found_mean, found_covariance = Posterior(hyper, points, rows).expected(points, np.zeros(7))
    np.testing.assert_allclose(found_mean, mean, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found_covariance, covariance, rtol=1e-6, atol=1e-9)


# Log-times of the ends of nine points: most at the end of the longest training, two before.
ENDS = np.array([0.0, 0.0, -0.5, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0])


def test_the_knowledge_gradient_is_the_mean_improvement_over_draws():
    """Draw the observation of each action; condition on it; take the best expected value."""
    points, rows, hyper = process()
    new = [np.random.default_rng(1).random((2, part.shape[1])) for part in points]
    candidates = [np.concatenate(pair) for pair in zip(points, new, strict=True)]
    posterior = Posterior(hyper, points, rows)
    actions = Actions(np.array([7, 8, 2]), np.array([-1, -1, 2]), np.array([0.0, -0.7, 0.0]))
    gains = knowledge_gradient(posterior, candidates, ENDS, 7, actions, variance=1e-4)
    known, matrix = dense(points, rows, hyper)
    draws = np.random.default_rng(2).normal(size=4000)
    start = posterior.means(points, ENDS[:7]).min()
    for index in range(3):
        place = actions.point[index]
        trial = actions.trial[index] if actions.trial[index] >= 0 else 99
        described = ([part[place] for part in candidates], actions.time[index], trial)
        cross = np.array([obvious_covariance(hyper, described, row) for row in known])
        variance = obvious_covariance(hyper, described, described) + hyper.nugget**2 + 1e-4
        variance -= cross @ np.linalg.solve(matrix, cross)
        choices = [*range(7), *([place] if place >= 7 else [])]
        ends = [([part[i] for part in candidates], ENDS[i], -1) for i in choices]
        to_rows = np.array([[obvious_covariance(hyper, end, row) for row in known] for end in ends])
        to_action = np.array([obvious_covariance(hyper, end, described) for end in ends])
        solved = np.linalg.solve(matrix, rows.value - rows.value.mean())
        means = rows.value.mean() + to_rows @ solved
        moves = (to_action - to_rows @ np.linalg.solve(matrix, cross)) / math.sqrt(variance)
        best = (means[:, None] + moves[:, None] * draws).min(axis=0)
        assert gains[index] == pytest.approx(start - best.mean(), abs=4 * best.std() / 4000**0.5)
    assert (gains >= -1e-12).all()


def simulated(count, seed=0):
    """Trials whose value depends on the rate and on the loss, with the luck of each trial."""
    rng = random.Random(seed)
    trials = []
    for _ in range(count):
        point = changed(SPACE, POINT, rng)
        level = 5 + 0.3 * (math.log10(point["train.lr_g"]) + 3) ** 2
        level += 0.2 * (point["train.loss"] == "logistic") + rng.gauss(0, 0.02)
        trials.append(Trial(point, {k: math.exp(level + 0.5 / k) for k in (1.0, 2.0, 4.0)}))
    return trials


def test_what_matters_is_found_and_predicted():
    trials = simulated(40)
    posterior = fitted(SPACE, trials, 4.0)
    relevance = dict(zip([p.name for p in SPACE], posterior.hyper.relevances(), strict=True))
    assert sorted(relevance, key=relevance.__getitem__)[-2:] == ["train.loss", "train.lr_g"]
    good = {**POINT, "train.lr_g": 1e-3}
    bad = {**POINT, "train.lr_g": 1e-2, "train.loss": "logistic", "train.r1_gamma": 5.0}
    mean, covariance = posterior.expected(encode(SPACE, [good, bad]), np.zeros(2))
    truth = np.array([5, 5.5]) + 0.125
    assert np.abs(mean - truth).max() < 0.12
    assert (np.abs(mean - truth) < 3.5 * np.sqrt(np.diag(covariance))).all()


def test_the_best_candidate_is_near_the_best_and_not_where_a_trial_runs():
    trials, pool = simulated(30), random_pool(SPACE, 0, 4.0)
    posterior = fitted(SPACE, trials, 4.0)
    point, gain = best_candidate(SPACE, trials, posterior, pool, random.Random(0))
    assert 3e-4 < point["train.lr_g"] < 3e-3 and point["train.loss"] == "hinge"
    running = [*trials, Trial(point, {}, is_running=True)]
    other, less = best_candidate(
        SPACE, running, fitted(SPACE, running, 4.0), pool, random.Random(0)
    )
    assert other != point and 0 < less < gain < 0.1


def test_a_searched_length_counts_with_its_own_end():
    """Values fall as one over the root of kimg, whatever else: longer trainings are better."""
    text = "method: random\nmetric: {name: fd_efficientnet_lite0}\nrun_cap: 8\nname: t\n"
    text += "base: {eval: {extractor: efficientnet_lite0}}\nparameters:\n"
    text += "  train.total_kimg: {values: [5, 20]}\n  train.beta1: {min: 0.0, max: 0.8}\n"
    space = spec_from_text(text, "t.yaml").space
    trials = []
    for number in range(8):
        length, luck = (5, 20)[number % 2], 1 + 0.01 * (number % 3)
        point = {"train.total_kimg": length, "train.beta1": 0.1 * number}
        kimgs = [kimg for kimg in (1.25, 2.5, 5.0, 10.0, 20.0) if kimg <= length]
        trials.append(Trial(point, {kimg: 400 * luck / math.sqrt(kimg) for kimg in kimgs}))
    posterior, pool = fitted(space, trials, 20.0), random_pool(space, 0, 20.0)
    short, long = (
        pool_of(space, [{"train.total_kimg": length, "train.beta1": 0.35}], 20.0)
        for length in (5, 20)
    )
    means = [math.exp(posterior.means(one.columns, one.ends)[0]) for one in (short, long)]
    assert means == pytest.approx([180, 90], rel=0.05)
    for seed in range(3):
        point, _ = best_candidate(space, trials, posterior, pool, random.Random(seed))
        assert point["train.total_kimg"] == 20


def test_a_tried_point_is_no_candidate():
    space = SPACE[:1]
    points = random_pool(space, 0, 4.0).points[:12]
    trials = [Trial(point, {4.0: 100.0}) for point in points[:9]]
    pool, posterior = pool_of(space, points, 4.0), fitted(space, trials, 4.0)
    for seed in range(5):
        point, _ = best_candidate(space, trials, posterior, pool, random.Random(seed))
        assert point not in points[:9]


def test_if_no_trial_was_feasible_a_point_is_chosen_all_the_same():
    trials = [
        Trial(changed(SPACE, POINT, random.Random(i)), {}, is_infeasible=True) for i in range(4)
    ]
    posterior = fitted(SPACE, trials, 4.0)
    point, gain = best_candidate(
        SPACE, trials, posterior, random_pool(SPACE, 0, 4.0), random.Random(0)
    )
    assert point not in [trial.point for trial in trials] and gain == math.inf


def test_rows_of_trials():
    trials = [
        Trial(POINT, {1.0: 100.0, 2.0: 50.0}),
        Trial(POINT, {}, is_infeasible=True),
        Trial(POINT, {1.0: 80.0}, is_running=True),
    ]
    rows = rows_of(trials, 4.0)
    assert rows.trial.tolist() == [0, 0, 1, 2]
    assert rows.time == pytest.approx([math.log(0.25), math.log(0.5), 0, math.log(0.25)])
    assert np.exp(rows.value) == pytest.approx([100, 50, 100, 80])  # the worst one: infeasible


def test_values_that_have_no_logarithm_are_scaled():
    rows = rows_of([Trial(POINT, {1.0: -1.0, 2.0: 3.0})], 2.0)
    assert rows.value == pytest.approx([math.asinh(-1 / 3), math.asinh(1)])
    several = [Trial(POINT, {1.0: 9.0, 2.0: last}) for last in (-1.0, 3.0)]
    assert rows_of(several, 2.0).value[[1, 3]] == pytest.approx(
        [math.asinh(v / 2) for v in (-1, 3)]
    )


def test_many_rows_are_thinned_to_the_last_and_evenly_spaced_ones():
    values = {float(kimg): 100.0 for kimg in range(1, 201)}
    rows = rows_of([Trial(POINT, values)] * 150, 200.0)
    assert len(rows.value) <= MAX_ROWS
    kimgs = np.exp(rows.time[rows.trial == 0]) * 200
    assert kimgs[0] == pytest.approx(1) and kimgs[-1] == pytest.approx(200)


def test_a_fit_improves_the_density_and_continues_from_an_earlier_one():
    points, rows, _ = process()
    squared = squared_distances(points, points)
    before, _ = loss(prior(3).means, prior(3), squared, rows)
    found = fit(points, rows, prior(3))
    after, _ = loss(found.logs, prior(3), squared, rows)
    assert after < before and len(found.logs) == 3 + len(SHARED)
    again = fit(points, rows, prior(3), start=found, iterations=1)
    assert loss(again.logs, prior(3), squared, rows)[0] <= after
