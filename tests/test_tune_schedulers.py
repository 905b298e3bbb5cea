"""Early stopping as Tune calls it, on made-up trials: what noise does, and what tolerance mends."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fastgan_ray.search.options import EarlyTerminate
from fastgan_ray.tune.schedulers import Asha

METRIC = "fd_efficientnet_lite0"
RUNG = 2.0


def asha(folder, tolerance=0.0, mode="min"):
    return Asha(METRIC, mode, EarlyTerminate(RUNG, 3.0, None, tolerance), 6.0, folder)


def decide(scheduler, name, row):
    trial = SimpleNamespace(trial_id=name, last_result={})
    scheduler.on_trial_add(None, trial)
    return scheduler.on_trial_result(None, trial, {"kimg": RUNG, **row})


def stops(folder, tolerance, error, seed, mode="min"):
    """Of 60 trials, those that are stopped, and those whose true value would not have been."""
    noise = np.random.default_rng(seed)
    truth = noise.normal(300, 20, size=60)
    seen = truth + noise.normal(0, error, size=60)
    sign = -1 if mode == "max" else 1
    scheduler, oracle = asha(folder, tolerance, mode), asha(folder, 0.0, mode)
    stopped, wrong = 0, 0
    for index in range(60):
        row = {METRIC: sign * seen[index], f"{METRIC}_se_fakes": error}
        stop = decide(scheduler, str(index), row) == "STOP"
        deserved = decide(oracle, str(index), {METRIC: sign * truth[index]}) == "STOP"
        stopped += stop
        wrong += stop and not deserved
    return stopped, wrong


@pytest.mark.parametrize("mode", ["min", "max"])
def test_tolerance_spares_those_that_only_noise_would_stop(tmp_path, mode):
    totals = {}
    for tolerance in (0.0, 1.0, 2.0):
        runs = [stops(tmp_path, tolerance, 8.0, seed, mode) for seed in range(20)]
        totals[tolerance] = np.mean(runs, axis=0)
    stopped, wrong = zip(*totals.values(), strict=True)
    # Of about 37 stops in 60 without tolerance, more than 3 are noise's; each standard error
    # of tolerance takes most of the rest away, at the price of trials that go on.
    assert wrong[0] > 3
    assert wrong[1] < 0.4 * wrong[0] and wrong[2] < 0.1 * wrong[0]
    assert stopped[0] > stopped[1] > stopped[2] > 0.5 * stopped[0]


def test_without_noise_tolerance_changes_nothing(tmp_path):
    rows = [{METRIC: value} for value in (300, 310, 290, 305, 280, 320)]
    plain, tolerant = asha(tmp_path), asha(tmp_path, 2.0)
    decisions = [decide(plain, str(i), row) for i, row in enumerate(rows)]
    assert decisions == [decide(tolerant, str(i), row) for i, row in enumerate(rows)]
    assert "STOP" in decisions and "CONTINUE" in decisions


def test_cheap_evaluations_are_compared_with_each_other(tmp_path):
    scheduler = asha(tmp_path)
    early = f"early/{METRIC}"
    assert decide(scheduler, "a", {early: 300.0}) == "CONTINUE"
    assert decide(scheduler, "b", {early: 400.0}) == "STOP"
    assert decide(scheduler, "c", {"outcome": "diverged"}) == "CONTINUE"  # it ends by itself


def test_a_trial_sparing_is_by_its_own_error(tmp_path):
    for error, decision in ((4.9, "STOP"), (5.1, "CONTINUE")):
        scheduler = asha(tmp_path, tolerance=2.0)
        decide(scheduler, "a", {METRIC: 300.0})
        row = {METRIC: 310.0, f"{METRIC}_se_fakes": error}
        assert decide(scheduler, "b", row) == decision
