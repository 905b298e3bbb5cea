"""The rule `chance` on simulated learning curves: it stops where early values tell, else nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastgan_ray.search.curves.chance import correlation, forecast
from fastgan_ray.search.curves.kernel import Hyperparameters
from fastgan_ray.search.curves.posterior import prior
from fastgan_ray.search.file.early_terminate import Chance
from fastgan_ray.search.stopping import Observation, StoppingRules

KIMG = (1.0, 2.0, 4.0, 8.0)


def curves(count, early, seed):
    """Return learning curves whose early values have the correlation `early` with the end.

    The logarithms of the values at the end differ by a standard deviation of 0.2.
    """
    rng = np.random.default_rng(seed)
    end = rng.normal(size=count)
    result = []
    for level in end:
        rest = rng.normal() * math.sqrt(1 - early**2)
        values = [5 + 0.4 * (3 - i) + 0.2 * (early * level + rest) for i in range(3)]
        values = [value + 0.01 * rng.normal() for value in values]
        result.append([math.exp(value) for value in (*values, 5 + 0.2 * level)])
    return result


def search(trials, rule, workers=3):
    """Simulate a search; return {number of a stopped trial: kimg}, and all reasons."""
    rules, stopped, reasons = StoppingRules([rule], KIMG[-1]), {}, []
    for first in range(0, len(trials), workers):
        for index, kimg in enumerate(KIMG):
            for number in range(first, min(first + workers, len(trials))):
                if number in stopped:
                    continue
                reason = rules.decide(Observation(number, kimg, trials[number][index]))
                if reason:
                    stopped[number] = kimg
                    reasons.append(reason)
    return stopped, reasons


def test_where_early_values_tell_bad_trials_stop_and_good_ones_do_not():
    stopped = wrong = 0
    for seed in range(3):
        trials = curves(24, early=0.95, seed=seed)
        ends = [trial[-1] for trial in trials]
        ended, reasons = search(trials, Chance(probability=0.05))
        stopped += len(ended)
        wrong += sum(ends[number] <= sorted(ends)[1] for number in ended)
        assert all("its chance to end among the best 10%" in reason for reason in reasons)
    assert stopped > 25 and wrong <= 0.05 * stopped


def test_where_early_values_tell_nothing_no_trial_stops_before_it_is_late():
    for seed in range(3):
        stopped, _ = search(curves(24, early=0.0, seed=seed), Chance(probability=0.05))
        assert len(stopped) <= 2, stopped


def test_nothing_stops_before_enough_trials_have_ended_or_before_min_iter():
    trials = curves(24, early=0.95, seed=0)
    waits, _ = search(trials, Chance(probability=0.3, min_trials=12))
    assert waits and min(waits) >= 12
    late, _ = search(trials, Chance(probability=0.3, min_iter=4.0))
    assert late and min(late.values()) >= 4.0


def test_chances_are_shares_of_draws_and_ends_are_known():
    trials = curves(20, early=0.95, seed=1)
    known = [dict(zip(KIMG, trial, strict=True)) for trial in trials]
    best = int(np.argmin([trial[-1] for trial in trials]))
    predicted = forecast([*known, {1.0: trials[best][0]}], KIMG[-1], 0.1)
    assert predicted.chances[best] > 0.9
    assert predicted.chances.sum() == pytest.approx(2, abs=1e-9)  # a tenth of 21 trials
    assert 0.1 < predicted.chances[-1] < 0.95  # its beginning is that of the best
    assert predicted.correlations[1.0] > 0.7 and predicted.correlations[8.0] > 0.9


def test_correlations_are_those_of_drawn_curves():
    """Draw values at two times from the process, term by term."""
    logs = prior(1).means.copy()
    logs[:1], share = math.log(0.1), 0.25
    hyper = Hyperparameters(logs)
    gap, rng = -math.log(share), np.random.default_rng(0)

    def pair(deviation, time):
        """Two values of an Ornstein-Uhlenbeck process with a distance of `gap`."""
        first, second = rng.normal(size=(2, 200_000)) * deviation
        together = math.exp(-gap / time)
        return first, together * first + math.sqrt(1 - together**2) * second

    effect = pair(0.1, hyper.effect_time)
    luck = pair(hyper.luck_change, hyper.luck_time)
    constant = rng.normal(size=200_000) * hyper.luck
    nuggets = rng.normal(size=(2, 200_000)) * hyper.nugget
    early, end = (effect[i] + luck[i] + constant + nuggets[i] for i in range(2))
    assert correlation(hyper, share) == pytest.approx(np.corrcoef(early, end)[0, 1], abs=0.01)
