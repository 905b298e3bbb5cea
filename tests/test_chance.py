"""The rule `chance` on simulated learning curves: it stops only where early values tell."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastgan_ray.search.curves.chance import forecast
from fastgan_ray.search.curves.kernel import Hyperparameters, correlation_with_end
from fastgan_ray.search.curves.posterior import prior
from fastgan_ray.search.curves.trials import Trial
from fastgan_ray.search.file.early_terminate import Chance
from fastgan_ray.search.stopping import Observation, StoppingRules

KIMG = tuple(range(1, 9))


def curves(count, memory, seed):
    """Return learning curves; values whose log-times differ by more than `memory` have no relation.

    The logarithms of the values at each kimg differ by a standard deviation of 0.2.
    """
    rng = np.random.default_rng(seed)
    gaps = np.log(KIMG)[:, None] - np.log(KIMG)
    covariance = 0.04 * np.exp(-0.5 * (gaps / memory) ** 2) + 1e-4 * np.eye(len(KIMG))
    effects = rng.multivariate_normal(np.zeros(len(KIMG)), covariance, size=count)
    return np.exp(5 + 1 / np.array(KIMG) + effects).tolist()


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


def stops(memory, seeds=3):
    """Return the number of stops, of stops in the first three eighths, and of wrong stops."""
    stopped = early = wrong = 0
    for seed in range(seeds):
        trials = curves(24, memory, seed)
        two_best = sorted(range(24), key=lambda number: trials[number][-1])[:2]
        ended, reasons = search(trials, Chance(probability=0.05))
        stopped += len(ended)
        early += sum(kimg <= 3 for kimg in ended.values())
        wrong += sum(number in ended for number in two_best)
        assert all("its chance to end among the best 10% is" in reason for reason in reasons)
    return stopped, early, wrong


@pytest.mark.slow
def test_fewer_trials_stop_early_where_early_values_tell_nothing():
    """Of the stopped trials, at most 5 % would have been among the best tenth, in both cases."""
    stopped, early, wrong = stops(memory=8.0)
    assert early > 40 and wrong <= 0.05 * stopped
    stopped, early_without, wrong = stops(memory=0.4)
    assert early_without < 0.6 * early and wrong <= 0.05 * stopped


def test_nothing_stops_before_enough_trials_have_ended_or_before_min_iter():
    trials = curves(24, memory=8.0, seed=0)
    waits, _ = search(trials, Chance(probability=0.3, min_trials=12))
    assert waits and min(waits) >= 12
    late, _ = search(trials, Chance(probability=0.3, min_iter=4.0))
    assert late and min(late.values()) >= 4


def test_chances_are_shares_of_draws_and_ends_are_known():
    trials = curves(20, memory=8.0, seed=1)
    known = [dict(zip(KIMG, trial, strict=True)) for trial in trials]
    best = int(np.argmin([trial[-1] for trial in trials]))
    predicted = forecast(
        [Trial({}, values) for values in (*known, {1: trials[best][0]})], KIMG[-1], 0.1
    )
    assert predicted.chances[best] > 0.9
    assert predicted.chances.sum() == pytest.approx(2, abs=1e-9)  # a tenth of 21 trials
    assert 0.1 < predicted.chances[-1] < 0.95  # its beginning is that of the best
    assert predicted.correlations[1] > 0.7 and predicted.correlations[8] > 0.9


def test_correlations_are_those_of_drawn_curves():
    """Draw values at two times from the process, term by term."""
    share = 0.25
    hyper = Hyperparameters(np.array([math.log(0.1), *prior(1).means[1:]]))
    gap, rng = -math.log(share), np.random.default_rng(0)

    def pair(deviation, together):
        """Two normal values with a correlation."""
        first, second = rng.normal(size=(2, 200_000)) * deviation
        return first, together * first + math.sqrt(1 - together**2) * second

    ratio = hyper.effect_change**2
    constant = rng.normal(size=200_000) * 0.1 / math.sqrt(1 + ratio)
    change = pair(
        0.1 * math.sqrt(ratio / (1 + ratio)), math.exp(-0.5 * (gap / hyper.effect_time) ** 2)
    )
    luck = pair(hyper.luck_change, math.exp(-gap / hyper.luck_time))
    constant_luck = rng.normal(size=200_000) * hyper.luck
    nuggets = rng.normal(size=(2, 200_000)) * hyper.nugget
    early, end = (constant + change[i] + luck[i] + constant_luck + nuggets[i] for i in range(2))
    assert correlation_with_end(hyper, share) == pytest.approx(
        np.corrcoef(early, end)[0, 1], abs=0.01
    )
