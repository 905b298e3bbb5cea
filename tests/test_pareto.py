"""The front of several metrics against the definition, and what a summary holds of it."""

from __future__ import annotations

import random

import pytest

from fastgan_ray.search.file.options import Metric
from fastgan_ray.search.pareto import front, front_of

METRICS = (Metric("fd"), Metric("params_g"), Metric("images_per_second", "maximize"))


def dominates(one, other):
    signed = [(a, b) for a, b in zip(one[:2], other[:2], strict=True)] + [(-one[2], -other[2])]
    return all(a <= b for a, b in signed) and any(a < b for a, b in signed)


@pytest.mark.parametrize("seed", range(5))
def test_nobody_on_the_front_is_dominated_and_everybody_else_is(seed):
    rng = random.Random(seed)
    values = {f"{n:02d}": [float(rng.randint(0, 6)) for _ in METRICS] for n in range(40)}
    kept = front(values, METRICS)
    for name, own in values.items():
        dominated = any(dominates(other, own) for other in values.values())
        assert (name in kept) == (not dominated)
    assert [values[name][0] for name in kept] == sorted(values[name][0] for name in kept)


def test_the_front_of_a_summary_is_of_finished_trials():
    def trial(name, value, params, state="finished"):
        return {"trial_id": name, "value": value, "state": state, "costs": {"params_g": params}}

    trials = [
        trial("0", 10.0, 500),
        trial("1", 20.0, 100),
        trial("2", 21.0, 200),
        trial("3", 1.0, 1, "stopped"),
        {"trial_id": "4", "value": 9.0, "state": "finished", "costs": {}},
    ]
    assert front_of(trials, METRICS[:2]) == [
        {"trial_id": "0", "fd": 10.0, "params_g": 500},
        {"trial_id": "1", "fd": 20.0, "params_g": 100},
    ]
