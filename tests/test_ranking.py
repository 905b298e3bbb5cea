"""The expected values of a search's configurations, and their probabilities of being the best."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random

import numpy as np
import pytest

from fastgan_ray.search.curves.kernel import squared_distances
from fastgan_ray.search.curves.posterior import Rows, fit, hyperparameter_draws, loss, prior
from fastgan_ray.search.curves.ranking import MANY_TRIALS, _chances, rank
from fastgan_ray.search.curves.trials import Scale, Trial, rows_of, scale_of
from fastgan_ray.search.expected import EXPECTED, by_expected, early_values, with_expected
from fastgan_ray.search.file.read import spec_from_text

TEXT = """
name: t
method: random
metric: {name: METRIC}
run_cap: 40
base: {eval: {extractor: efficientnet_lite0}, train: {total_kimg: 4}}
parameters:
  train.lr_g: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}
  train.loss: {values: [hinge, logistic]}
  train.seed: {values: [0, 1, 2]}
"""
SPEC = spec_from_text(TEXT.replace("METRIC", "fd_efficientnet_lite0"), "t.yaml")
MAXIMIZE = spec_from_text(
    TEXT.replace("{name: METRIC}", "{name: coverage_k5, goal: maximize}"), "t.yaml"
)
KIMG = (1.0, 2.0, 4.0)


def level(point):
    """The logarithm of the true value of a configuration at the end of a training."""
    return 5 + 0.3 * (math.log10(point["train.lr_g"]) + 3) ** 2 + (point["train.loss"] != "hinge")


def point(rng, seed=0):
    return {
        "train.lr_g": 10 ** rng.uniform(-4, -2),
        "train.loss": rng.choice(["hinge", "logistic"]),
        "train.seed": seed,
    }


def trials(count, seed=0, luck=0.05):
    rng = random.Random(seed)
    result = []
    for _ in range(count):
        chosen = point(rng)
        luck_of_trial = rng.gauss(0, luck)
        values = {k: math.exp(level(chosen) + luck_of_trial + 0.5 / k - 0.125) for k in KIMG}
        result.append(Trial(chosen, values))
    return result


def test_the_expected_values_are_near_the_truth_and_inside_their_intervals():
    known = trials(30)
    expected = rank(SPEC.space, known, 4.0).expectations()
    truth = [math.exp(level(trial.point)) for trial in known]
    errors = [abs(math.log(e.value / t)) for e, t in zip(expected, truth, strict=True)]
    lucks = [abs(math.log(k.values[4.0] / t)) for k, t in zip(known, truth, strict=True)]
    assert np.mean(errors) < 0.8 * np.mean(lucks)  # less luck than in the values themselves
    inside = [e.low <= t <= e.high for e, t in zip(expected, truth, strict=True)]
    assert np.mean(inside) > 0.6
    assert sum(e.chance for e in expected) == pytest.approx(1)
    best = min(expected, key=lambda e: e.value)
    assert best.chance > 1 / 30 and max(e.chance for e in expected) < 0.99


def test_trainings_that_differ_only_in_the_seed_share_an_expectation():
    known = trials(8)
    again = Trial({**known[3].point, "train.seed": 1}, {k: 1.2 * known[3].values[k] for k in KIMG})
    expected = rank(SPEC.space, [*known, again], 4.0).expectations()
    assert expected[3] == expected[8]
    alone = rank(SPEC.space, known, 4.0).expectations()
    assert alone[3].value < expected[3].value  # the second seed was worse


def test_infeasible_trials_and_trials_without_a_value_are_not_ranked():
    known = [*trials(6), Trial(point(random.Random(9)), {}, is_running=True)]
    known.append(Trial(point(random.Random(8)), {1.0: 300.0}, is_infeasible=True))
    expected = rank(SPEC.space, known, 4.0).expectations()
    assert [e is None for e in expected] == [False] * 6 + [True] * 2
    assert rank(SPEC.space, known[3:], 4.0) is None  # three trials are too few


def test_a_stopped_trial_is_less_certain_than_a_finished_one():
    known = trials(12)
    stopped = dataclasses.replace(known[0], values={1.0: known[0].values[1.0]})
    whole = rank(SPEC.space, known, 4.0).expectations()[0]
    partial = rank(SPEC.space, [stopped, *known[1:]], 4.0).expectations()[0]
    assert math.log(partial.high / partial.low) > math.log(whole.high / whole.low)


def test_curves_end_at_the_expected_value():
    ranking = rank(SPEC.space, trials(10), 4.0)
    curve, expected = ranking.curve(2), ranking.expectations()[2]
    assert (curve[0].kimg, curve[-1].kimg) == pytest.approx((1.0, 4.0))
    assert curve[-1][1:] == pytest.approx(expected[:3])
    assert curve[0].value > curve[-1].value
    assert all(low < value < high for _, value, low, high in curve)


def test_chances_are_those_of_two_normal_values():
    mean, covariance = np.array([0.0, 0.1]), np.array([[0.01, 0.004], [0.004, 0.02]])
    deviation = math.sqrt(0.01 + 0.02 - 2 * 0.004)
    exact = 0.5 * (1 + math.erf(0.1 / deviation / math.sqrt(2)))
    assert _chances([(mean, covariance)])[0] == pytest.approx(exact, abs=0.02)


def test_with_many_trials_the_hyperparameters_are_fitted_to_some_of_them():
    known = trials(MANY_TRIALS + 10)
    ranking = rank(SPEC.space, known, 4.0)
    assert len(ranking.posteriors) == 1 and len(ranking.posteriors[0].rows.value) == 2 * len(known)
    best = max(ranking.expectations(), key=lambda e: e.chance)
    assert best.value < 160


def test_errors_of_evaluations_become_variances_on_the_scale():
    positive = [Trial({}, {1.0: 100.0, 2.0: 50.0}, errors={1.0: 5.0})]
    assert rows_of(positive, 2.0).variance == pytest.approx([0.05**2, 0])
    signed = [Trial({}, {1.0: -1.0, 2.0: 3.0}, errors={2.0: 1.0})]
    assert scale_of(signed) == Scale(3.0)  # three standard errors
    assert rows_of(signed, 2.0).variance == pytest.approx([0, 1 / (3**2 + 3**2)])
    for scale in (Scale(2.0), Scale(None)):
        assert scale.metric(np.array([scale.scaled(1.5)])) == pytest.approx([1.5])
    # Far above the unit, a difference is relative, as on the logarithmic scale.
    assert Scale(0.01).scaled(2.2) - Scale(0.01).scaled(2.0) == pytest.approx(math.log(1.1), 1e-4)
    assert Scale(None).metric(np.log(np.array([7.0]))) == pytest.approx([7.0])


def test_equal_values_have_a_scale_and_equal_chances():
    """The standard deviation of equal numbers may be a rounding error instead of 0."""
    equal = [Trial(point(random.Random(i)), {4.0: -0.1}) for i in range(6)]
    assert scale_of(equal) == Scale(0.1) and scale_of([Trial({}, {1.0: 0.0})]) == Scale(1.0)
    chances = [e.chance for e in rank(SPEC.space, equal, 4.0).expectations()]
    assert max(chances) < 0.5


@pytest.mark.parametrize("least", [4e-4, -4e-4])
def test_the_sign_of_a_value_near_0_does_not_matter(least):
    """A kernel distance of .0004 with the error .0005 is as good as one of -.0004."""
    finals = [*np.geomspace(0.003, 0.03, 8), least]
    errors = {1.0: 0.006, 2.0: 0.003, 4.0: 5e-4}  # early evaluations have larger errors
    known = [
        Trial(point(random.Random(i)), {1.0: 0.3 + f, 2.0: 0.05 + f, 4.0: f}, errors=errors)
        for i, f in enumerate(finals)
    ]
    expected = rank(SPEC.space, known, 4.0).expectations()
    assert expected[-1].chance > 0.6
    assert 0.002 < expected[1].value < 0.008  # about .004


def test_draws_of_hyperparameters_have_the_width_of_the_curvature():
    """Rows without information: the posterior of the hyperparameters is their prior."""
    rows = Rows(np.array([0]), np.array([0.0]), np.array([0.0]), np.array([1e6]))
    points = [np.zeros((1, 1))]
    known = prior(1)
    mode = fit(points, rows, known)
    draws = np.array([d.logs for d in hyperparameter_draws(points, rows, known, mode, 2000)])
    assert draws.mean(axis=0) == pytest.approx(known.means, abs=0.1)
    assert draws.std(axis=0) == pytest.approx(known.deviations, rel=0.1)
    slope = loss(mode.logs, known, squared_distances(points, points), rows)[1]
    assert np.abs(slope).max() < 1e-3


def records(known, spec, sign=1):
    metric = spec.metric.name
    result, rows = [], {}
    for number, trial in enumerate(known):
        name = f"{number:05d}"
        rows[name] = [{"kimg": k, metric: sign * v} for k, v in trial.values.items()]
        result.append(
            {
                "trial_id": name,
                "state": "finished",
                "value": sign * trial.values[4.0],
                "error": None,
                "kimg": 4.0,
                "point": trial.point,
            }
        )
    return result, rows


def test_records_get_their_expectations():
    known = trials(8)
    of_search, rows = records(known, SPEC)
    of_search[1] |= {"state": "failed", "value": None}
    complete, entry = with_expected(SPEC, of_search, rows)
    assert entry["note"] == "" and len(entry["curves"]) == 4
    assert all(complete[1][key] is None for key in EXPECTED)
    others = [record for record in complete if record["state"] == "finished"]
    ordered = by_expected(SPEC, others)
    assert ordered[0]["trial_id"] == next(iter(entry["curves"]))
    assert [r["expected"] for r in ordered] == sorted(r["expected"] for r in ordered)


def test_higher_values_may_be_better_and_values_may_be_negative():
    known = trials(12)
    of_search, rows = records(known, MAXIMIZE, sign=-1)
    complete, entry = with_expected(MAXIMIZE, of_search, rows)
    ordered = by_expected(MAXIMIZE, complete)
    assert all(r["expected_low"] <= r["expected"] <= r["expected_high"] for r in complete)
    assert [r["expected"] for r in ordered] == sorted(
        (r["expected"] for r in ordered), reverse=True
    )
    best_three = {r["trial_id"] for r in sorted(complete, key=lambda r: r["value"])[-3:]}
    assert ordered[0]["trial_id"] in best_three
    assert all(low <= high for curve in entry["curves"].values() for *_, low, high in curve)


def test_what_early_values_tell_is_said():
    of_search, rows = records(trials(12), SPEC)
    _, entry = with_expected(SPEC, of_search, rows)
    (first, early), *_, (last, end) = entry["correlations"]
    assert (first, last) == (1.0, 4.0) and 0 < early < end <= 1
    assert entry["early_values"] == early_values(dict(entry["correlations"]), 4.0) != ""
    assert "already tell much" in early_values({1.0: 0.8, 2.0: 0.9, 4.0: 0.95}, 4.0)
    little = early_values({1.0: 0.1, 2.0: 0.3, 3.0: 0.7, 4.0: 0.9}, 4.0)
    assert "Values up to 2 kimg tell little" in little and "at 3 kimg, it is 0.70" in little
    assert early_values({1.0: 0.1, 4.0: 0.9}, 4.0).endswith("(correlation 0.10 at 1 kimg).")
    assert early_values({4.0: 0.9}, 4.0) == ""


def test_the_value_of_the_best_checkpoint_is_that_of_a_finished_trial():
    """The best checkpoint may be better than the last evaluation."""
    known = trials(8)
    of_search, rows = records(known, SPEC)
    before, _ = with_expected(SPEC, of_search, rows)
    better = [{**record, "value": 0.7 * record["value"]} for record in of_search]
    after, _ = with_expected(SPEC, better, rows)
    assert all(a["expected"] < b["expected"] for a, b in zip(after, before, strict=True))


def test_there_is_no_ranking_of_few_trials_or_several_metrics():
    of_search, rows = records(trials(3), SPEC)
    complete, entry = with_expected(SPEC, of_search, rows)
    assert entry["note"] == "at least 4 trials must have a value (got 3)" and not entry["curves"]
    assert complete[0]["expected"] is None
    ordered = by_expected(SPEC, complete)
    assert all(a["value"] <= b["value"] for a, b in itertools.pairwise(ordered))
    several = dataclasses.replace(SPEC, costs=(dataclasses.replace(SPEC).metric,))
    of_search, rows = records(trials(6), SPEC)
    assert "several metrics" in with_expected(several, of_search, rows)[1]["note"]
