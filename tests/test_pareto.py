"""The Pareto front of several metrics: against its definition, and of a summary."""

from __future__ import annotations

import random

import pytest

from fastgan_ray.report.tables.pareto import front_table
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.pareto import front, front_of
from fastgan_ray.tune.driver.results import with_costs

METRICS = (
    Metric(name="fd"),
    Metric(name="params_g"),
    Metric(name="images_per_second", goal="maximize"),
)


def dominates(point, other):
    signed = [(a, b) for a, b in zip(point[:2], other[:2], strict=True)] + [(-point[2], -other[2])]
    return all(a <= b for a, b in signed) and any(a < b for a, b in signed)


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_exactly_what_no_other_point_dominates(seed):
    rng = random.Random(seed)
    values = {f"{n:02d}": [float(rng.randint(0, 6)) for _ in METRICS] for n in range(40)}
    names = front(values, METRICS)
    for name, point in values.items():
        dominated = any(dominates(other, point) for other in values.values())
        assert (name in names) == (not dominated)
    assert [values[name][0] for name in names] == sorted(values[name][0] for name in names)


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


def test_a_second_metric_may_be_one_of_quality():
    text = """
name: t
method: random
metric: [{name: fd_efficientnet_lite0}, {name: precision_k5}, {name: params_g}]
base: {eval: {extractor: efficientnet_lite0}}
parameters: {model.ngf: {values: [4, 8]}}
"""
    spec = spec_from_text(text, "t.yaml")
    rows = {
        "0": [{"precision_k5": 0.1}, {"precision_k5": 0.5, "best/precision_k5": 0.6}],
        "1": [{"precision_k5": 0.7}],
        "2": [],
    }
    trials = [
        with_costs(
            {"trial_id": name, "value": value, "state": "finished", "costs": {"params_g": 9}},
            spec,
            rows,
        )
        for name, value in (("0", 20.0), ("1", 30.0), ("2", 10.0))
    ]
    found = front_of(trials, (spec.metric, *spec.costs))
    assert [(trial["trial_id"], trial["precision_k5"]) for trial in found] == [
        ("0", 0.6),
        ("1", 0.7),
    ]
    costs = [{"name": cost.name, "goal": cost.goal} for cost in spec.costs]
    metric = {"name": spec.metric.name, "goal": spec.metric.goal}
    table = front_table({"front": found, "metric": metric, "costs": costs})
    assert "precision_k5 (higher is better)" in table.headings
