"""Stopping rules on simulated trials: Ray as an oracle, effects of noise and of tolerance."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler

from fastgan_ray.search.file.early_terminate import Hyperband, Median, Patience
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.search.stopping import HyperbandRule, Observation, StoppingRules
from fastgan_ray.tune.driver.scheduler import EarlyStoppingScheduler
from fastgan_ray.tune.trial.folder import append_row, stop_reason

METRIC = "fd_efficientnet_lite0"
RUNG = 2.0


def reasons_of(rules, *observations, total=100.0):
    """Return the reason to stop, or an empty text, for each observation in turn."""
    stopping = StoppingRules(rules, total)
    return [stopping.decide(Observation(*observation)) for observation in observations]


@pytest.mark.parametrize("eta", [2.0, 3.0])
def test_halving_decides_as_rays_asha_does(eta):
    theirs = AsyncHyperBandScheduler(
        time_attr="kimg", metric="m", mode="min", grace_period=2, max_t=30, reduction_factor=eta
    )
    ours = StoppingRules([Hyperband(min_iter=2, eta=eta, revisit=False)], 30.0)
    noise = np.random.default_rng(0)
    alive = {number: SimpleNamespace(trial_id=f"{number}") for number in range(40)}
    stops = 0
    for trial in alive.values():
        theirs.on_trial_add(None, trial)
    for kimg in range(1, 30):
        for number, trial in list(alive.items()):
            value = 100 / kimg + float(noise.normal(number / 4, 3))
            stopped = bool(ours.decide(Observation(number, kimg, value)))
            decision = theirs.on_trial_result(None, trial, {"kimg": kimg, "m": value})
            assert stopped == (decision == "STOP")
            if stopped:
                stops += 1
                del alive[number]
    assert stops > 20


def test_a_trial_that_came_first_is_compared_again_when_it_reports():
    first, better = [(0, 2.0, 9.0), (0, 3.0, 8.0)], [(n, 2.0, float(n)) for n in (1, 2, 3)]
    assert reasons_of([Hyperband(min_iter=2, eta=2)], first[0], *better, first[1])[-1] == (
        "not among the best 1/2 at 2 kimg (compared with 3 other trials)"
    )
    unchanged = Hyperband(min_iter=2, eta=2, revisit=False)
    assert reasons_of([unchanged], first[0], *better, first[1])[-1] == ""
    # Its value where it was compared counts, not what it reports meanwhile.
    assert (
        reasons_of([Hyperband(min_iter=2, eta=2)], (0, 2.0, 1.0), *better[1:], (0, 3.0, 99.0))[-1]
        == ""
    )


def test_a_sparse_report_counts_at_the_last_rung_it_passed():
    rules = [Hyperband(min_iter=2, eta=2)]
    good = (0, 5.0, 10.0)  # past the rungs at 2 and 4
    assert reasons_of(rules, good, (1, 2.0, 99.0), (1, 4.0, 98.0)) == [
        "",
        "",
        "not among the best 1/2 at 4 kimg (compared with 1 other trial)",
    ]


def test_brackets_start_later_one_by_one_and_get_trials_by_their_budget():
    rule = Hyperband(min_iter=1, eta=3, brackets=3)
    halving = HyperbandRule(rule, 27.0)
    brackets = [halving.bracket(number) for number in range(26)]
    assert Counter(brackets) == {0: 18, 1: 6, 2: 2}
    assert set(brackets[:13]) == {0, 1, 2}
    first, third = brackets.index(0), [n for n, bracket in enumerate(brackets) if bracket == 2]
    stopping = StoppingRules([rule], 27.0)
    assert not stopping.decide(Observation(first, 1.0, 1.0))
    for number in third:  # worse, but not compared before 9 kimg, and then with its own bracket
        assert not stopping.decide(Observation(number, 3.0, 90.0 + number))
    assert not stopping.decide(Observation(third[0], 9.0, 90.0))
    assert stopping.decide(Observation(third[1], 9.0, 91.0))


def test_median_ends_a_trial_whose_best_is_worse_than_usual():
    rules = [Median(min_iter=2, min_trials=3)]
    others = [(n, kimg, 10.0 * n + 10) for n in range(3) for kimg in (1.0, 2.0, 3.0)]
    late = [(9, 1.0, 99.0), (9, 2.0, 21.0), (9, 3.0, 25.0)]
    reasons = reasons_of(rules, *others, *late)
    assert reasons[:10] == [""] * 10
    # The trial's best value is 21; the means of the others are 10, 20 and 30.
    assert "median of the mean values of 3 other trials" in reasons[10]
    assert reasons_of(rules, *others, (9, 2.0, 19.0)) == [""] * 10
    uncertain = (9, 2.0, 21.0, 0.1, 0.5)  # the error of the evaluation does not count
    assert reasons_of(rules, *others, uncertain) != reasons_of(
        [Median(min_iter=2, min_trials=3, tolerance=2.0)], *others, uncertain
    )


def test_patience_ends_a_trial_that_no_longer_improves():
    rows = [(0, 1.0, 9.0), (0, 2.0, 5.0), (0, 3.0, 6.0), (0, 4.0, 5.5)]
    assert reasons_of([Patience(kimg=2)], *rows) == ["", "", "", "no improvement since 2 kimg"]
    assert reasons_of([Patience(kimg=3)], *rows) == [""] * 4
    within = [(0, 2.0, 5.0), (0, 9.0, 5.5, 0.5)]
    assert reasons_of([Patience(kimg=2, tolerance=1.0)], *within) == ["", ""]


def test_any_rule_ends_a_trial_and_all_take_in_every_observation():
    rules = [Patience(kimg=1), Hyperband(min_iter=2, eta=2)]
    assert reasons_of(rules, (0, 1.0, 5.0), (0, 2.0, 6.0), (1, 2.0, 7.0))[1:] == [
        "no improvement since 1 kimg",
        "not among the best 1/2 at 2 kimg (compared with 1 other trial)",
    ]


def test_an_observation_that_comes_again_is_ignored():
    observations = [(0, 2.0, 5.0), (0, 1.0, 5.0), (0, 2.0, 99.0), (1, 2.0, 4.0)]
    assert reasons_of([Hyperband(min_iter=1, eta=2)], *observations) == [""] * 4


def stops(tolerance, error, seed):
    """Return how many of 60 trials are stopped, and how many of these by the noise alone."""
    noise = np.random.default_rng(seed)
    truth = noise.normal(300, 20, size=60)
    seen = truth + noise.normal(0, error, size=60)
    stopping, oracle = (
        StoppingRules([Hyperband(min_iter=RUNG, tolerance=t)], 6.0) for t in (tolerance, 0.0)
    )
    stopped, wrong = 0, 0
    for index in range(60):
        stop = bool(stopping.decide(Observation(index, RUNG, seen[index], 0.0, error)))
        deserved = bool(oracle.decide(Observation(index, RUNG, truth[index])))
        stopped += stop
        wrong += stop and not deserved
    return stopped, wrong


def test_tolerance_spares_those_that_only_noise_would_stop():
    totals = [
        np.mean([stops(tolerance, 8.0, seed) for seed in range(20)], axis=0)
        for tolerance in (0.0, 1.0, 2.0)
    ]
    stopped, wrong = zip(*totals, strict=True)
    # Without tolerance about 37 of 60 trials are stopped, more than 3 of them wrongly. Each
    # standard deviation of tolerance removes most of the wrong stops, and some of the right ones.
    assert wrong[0] > 3
    assert wrong[1] < 0.4 * wrong[0] and wrong[2] < 0.1 * wrong[0]
    assert stopped[0] > stopped[1] > stopped[2] > 0.5 * stopped[0]


def trial(number, last_result=None, seed=0):
    name = f"{number:05d}"
    config = {"number": number, "point": {"train.seed": seed}}
    return SimpleNamespace(trial_id=name, config=config, last_result=last_result or {})


def make_scheduler(folder, goal="minimize", is_repeat=lambda point: False, **rule):
    rules, metric = [Hyperband(min_iter=RUNG, **rule)], Metric(name=METRIC, goal=goal)
    return EarlyStoppingScheduler(StoppingRules(rules, 6.0), metric, folder, is_repeat=is_repeat)


def decide(scheduler, number, row, seed=0):
    return scheduler.on_trial_result(
        None, trial(number, seed=seed), {"kimg": RUNG, "outcome": "running", **row}
    )


def test_a_repeat_with_another_seed_is_neither_stopped_nor_compared(tmp_path):
    scheduler = make_scheduler(tmp_path, is_repeat=lambda point: point["train.seed"] > 0)
    assert decide(scheduler, 0, {METRIC: 300.0}) == "CONTINUE"
    assert decide(scheduler, 1, {METRIC: 400.0}, seed=1) == "CONTINUE"
    assert decide(scheduler, 2, {METRIC: 100.0}, seed=1) == "CONTINUE"
    assert decide(scheduler, 3, {METRIC: 290.0}) == "CONTINUE"  # compared only with 300
    assert decide(scheduler, 4, {METRIC: 400.0}) == "STOP"


def test_a_stop_has_its_reason_in_the_trials_folder(tmp_path):
    scheduler = make_scheduler(tmp_path)
    assert decide(scheduler, 0, {METRIC: 300.0}) == "CONTINUE"
    assert decide(scheduler, 1, {METRIC: 400.0}) == "STOP"
    reason = f"not among the best 1/3 at {RUNG:g} kimg (compared with 1 other trial)"
    assert stop_reason(tmp_path / "00001") == reason
    assert stop_reason(tmp_path / "00000") == ""


def test_greater_may_be_better(tmp_path):
    scheduler = make_scheduler(tmp_path, "maximize")
    assert decide(scheduler, 0, {METRIC: 0.5}) == "CONTINUE"
    assert decide(scheduler, 1, {METRIC: 0.4}) == "STOP"
    assert decide(scheduler, 2, {METRIC: 0.6}) == "CONTINUE"


def test_cheap_evaluations_are_compared_with_each_other(tmp_path):
    scheduler = make_scheduler(tmp_path)
    early = f"early/{METRIC}"
    assert decide(scheduler, 0, {early: 300.0}) == "CONTINUE"
    assert decide(scheduler, 1, {early: 400.0}) == "STOP"
    assert decide(scheduler, 2, {"outcome": "diverged"}) == "CONTINUE"  # it ends by itself


def test_a_trial_is_spared_by_what_two_trainings_differ_by(tmp_path):
    """The luck of a seed is 6 % of a Frechet distance; the error of an evaluation adds to it."""
    cases = [(0.0, 327.0, "CONTINUE"), (0.0, 329.0, "STOP"), (15.0, 329.0, "CONTINUE")]
    for number, (error, value, decision) in enumerate(cases):
        scheduler = make_scheduler(tmp_path / str(number), tolerance=1.0)
        decide(scheduler, 0, {METRIC: 300.0})
        row = {METRIC: value, f"{METRIC}_se_fakes": error}
        assert decide(scheduler, 1, row) == decision


def test_brackets_count_configurations_not_their_repeats(tmp_path):
    """With two seeds, first trials of configurations may all have even numbers."""

    class Seen(StoppingRules):
        def decide(self, observation):
            numbers.append(observation.trial)
            return ""

    numbers, metric = [], Metric(name=METRIC, goal="minimize")
    scheduler = EarlyStoppingScheduler(
        Seen([], 6.0), metric, tmp_path, is_repeat=lambda point: point["train.seed"] > 0
    )
    for number in (5, 0, 3, 4, 1, 2):  # Ray adds restored trials in this way
        scheduler.on_trial_add(None, trial(number, seed=number % 2))
    for number in (4, 1, 0, 2):
        decide(scheduler, number, {METRIC: 300.0}, seed=number % 2)
    assert numbers == [2, 0, 1]


def test_a_rung_is_reached_in_spite_of_rounding():
    """0.2 * 3 is a little more than 0.6, where trials report."""
    rules = [Hyperband(min_iter=0.2, eta=3)]
    rows = [(n, kimg, 10.0 * n + kimg) for n in range(3) for kimg in (0.2, 0.4, 0.6)]
    reasons = reasons_of(rules, *rows[:3], *[row for row in rows[3:] if row[1] == 0.6])
    assert "at 0.6 kimg (compared with 1 other trial)" in reasons[3]


def test_after_a_restart_rungs_hold_what_restored_trials_had_reported(tmp_path):
    rows = [{"kimg": kimg, METRIC: 300.0, "outcome": "running"} for kimg in (1.0, 2.0, 3.0)]
    (tmp_path / "00000").mkdir()
    for row in rows:
        append_row(tmp_path / "00000", row)
    scheduler = make_scheduler(tmp_path)
    scheduler.on_trial_add(None, trial(0, rows[1]))  # Ray had not seen the third yet
    assert decide(scheduler, 1, {METRIC: 301.0}) == "STOP"
