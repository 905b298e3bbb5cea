"""Population-based training: who takes over, what changes, and that it happens in real trials."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tune_objectives as objectives

from fastgan_ray.errors import UserError
from fastgan_ray.search.file.spec import spec_from_text
from fastgan_ray.search.pbt import Population, PopulationBasedTraining, changeable
from fastgan_ray.search.stopping import Observation
from fastgan_ray.tune.driver.pbt import orders
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.session import connected
from fastgan_ray.tune.search import run_search

CHANGE = "[train.lr_g, train.beta1, augment.ada_p]"


def spec_of(population: str, cap: int = 8):
    return spec_from_text(
        f"""
name: t
method: random
metric: {{name: {objectives.METRIC}}}
run_cap: {cap}
seed: 1
population: {population}
base: {{eval: {{extractor: efficientnet_lite0, every_kimg: 1}}, train: {{total_kimg: 8}}}}
parameters:
  model.ngf: {{values: [8, 16]}}
  train.lr_g: {{distribution: log_uniform_values, min: 1e-4, max: 1e-2}}
  train.beta1: {{min: 0.0, max: 0.9}}
  augment.ada_p: {{values: [0.0, 0.2, 0.4]}}
  train.loss: {{values: [hinge, logistic]}}
""",
        "t.yaml",
    )


def exchange_of(spec):
    return PopulationBasedTraining(spec.population, spec.space, 8.0, spec.run_cap, spec.seed)


def test_what_may_change_are_numbers_that_a_network_in_training_bears():
    spec = spec_of("{every: 2}")
    assert changeable(spec.space) == ["train.lr_g", "train.beta1", "augment.ada_p"]
    assert spec.population == Population(2.0, 0.25, tuple(changeable(spec.space)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("3", "population: must be a mapping"),
        ("{every: 8}", "population.every: must be the kimg"),
        ("{every: 2, quantile: 0.7}", "population.quantile: must be a number above 0"),
        ("{every: 2, change: [model.ngf]}", "population.change: must list searched numbers"),
        ("{evry: 2}", "population.evry: is no key of population; did you mean every?"),
    ],
)
def test_faults(given, message):
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        spec_of(given)


def test_the_worst_of_a_rung_goes_on_from_the_best_of_it():
    exchange = exchange_of(spec_of("{every: 2}"))
    values = [5.0, 1.0, 3.0, 9.0, 2.0, 8.5, 0.5, 9.5]
    donors = [exchange.donor(Observation(n, 2.0, value)) for n, value in enumerate(values)]
    assert donors[:3] == [None] * 3  # a quarter of three is nobody
    assert donors[3] == 1 and donors[4:7] == [None] * 3
    assert donors[7] in (6, 1)
    assert exchange.promising(1) == [6, 1]
    # Between two rungs, again at the same, and at the end nothing is compared.
    assert exchange.donor(Observation(3, 3.0, 99.0)) is None
    assert exchange.donor(Observation(3, 3.0, 99.0)) is None
    assert exchange.donor(Observation(3, 8.0, 99.0)) is None
    again = exchange_of(spec_of("{every: 2}"))
    assert donors == [again.donor(Observation(n, 2.0, value)) for n, value in enumerate(values)]


def test_explored_points_stay_in_the_space_and_differ():
    spec = spec_of(f"{{every: 2, change: {CHANGE}}}")
    exchange = exchange_of(spec)
    start = {
        "model.ngf": 8,
        "train.lr_g": 1e-2,
        "train.beta1": 0.0,
        "augment.ada_p": 0.4,
        "train.loss": "hinge",
    }
    points = [exchange.perturb(start, trial, 2.0) for trial in range(200)]
    for point in points:
        assert all(p.contains(point[p.name]) for p in spec.space), point
        assert (point["model.ngf"], point["train.loss"]) == (8, "hinge")
    assert len({point["train.lr_g"] for point in points}) > 20
    assert {point["augment.ada_p"] for point in points} == {0.0, 0.2, 0.4}
    assert points[0] == exchange_of(spec).perturb(start, 0, 2.0)


def test_trials_take_over_weights_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    spec = spec_of("{every: 2, quantile: 0.5, change: [train.lr_g]}", cap=6)
    options = TuneOptions(runs_dir=tmp_path, wandb="disabled", quiet=True, max_concurrent=2)
    with connected(None):
        folder = run_search(spec, options, objectives.inherited)
    summary = json.loads((folder / "summary.json").read_text())
    moved = {
        one["trial_id"]: orders(folder / "trials" / one["trial_id"]) for one in summary["trials"]
    }
    assert all(one["state"] == "finished" for one in summary["trials"])
    assert sum(map(len, moved.values())) >= 1
    for one in summary["trials"]:
        given = moved[one["trial_id"]]
        log = (folder / "trials" / one["trial_id"] / "ran.txt").read_text().splitlines()
        assert len(log) == 1 + len(given)
        for order, line in zip(given, log[1:], strict=True):
            assert line.startswith(
                f"begin at {order['kimg']:g} with lr_g {order['point']['train.lr_g']:.6g}"
            )
        if given:
            assert one["point"] == given[-1]["point"]
            assert f"went on from {given[0]['donor']:05d}" in one["reason"]
    # What a trial took over is what the other one had there.
    trial, order = next((name, given[0]) for name, given in moved.items() if given)
    donor = folder / "trials" / f"{order['donor']:05d}" / "metrics.jsonl"
    rows = [json.loads(line) for line in donor.read_text().splitlines()]
    debt = next(row[objectives.METRIC] for row in rows if row["kimg"] == order["kimg"])
    log = (folder / "trials" / trial / "ran.txt").read_text().splitlines()
    assert log[1].endswith(f"debt {debt:.6g}")
    assert summary["best"]["config"]["train"]["lr_g"] == pytest.approx(
        next(o["point"]["train.lr_g"] for o in reversed(moved[summary["best"]["trial_id"]]))
        if moved[summary["best"]["trial_id"]]
        else summary["best"]["config"]["train"]["lr_g"]
    )
    assert not list(folder.glob("trials/*/taken-over-*"))
