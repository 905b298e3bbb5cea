"""Population-based training: who takes over, what changes, and the same in real trials."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import torch
import tune_objectives as objectives

from fastgan_ray.augment.ada import ada_state
from fastgan_ray.errors import UserError
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.search.file.population import Population, changeable
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.pbt import PopulationBasedTraining
from fastgan_ray.search.stopping import Observation, StoppingRules
from fastgan_ray.train import checkpoint
from fastgan_ray.train.state import new_state
from fastgan_ray.tune.driver.scheduler import EarlyStoppingScheduler
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.session import connected
from fastgan_ray.tune.search import run_search
from fastgan_ray.tune.trial.folder import REPEATED, append_row
from fastgan_ray.tune.trial.pbt import WeightExchange, read_orders
from fastgan_ray.tune.trial.trainable import repeat_rows

CPU = torch.device("cpu")
CHANGE = "[train.lr_g, train.beta1, augment.ada_p]"
POINT = {
    "model.ngf": 8,
    "train.lr_g": 1e-2,
    "train.beta1": 0.0,
    "augment.ada_p": 0.4,
    "train.loss": "hinge",
}


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


def algorithm_of(spec):
    return PopulationBasedTraining(spec.population, spec.space, 8.0, spec.run_cap, spec.seed)


def test_what_may_change_are_numbers_without_sizes_and_lengths():
    spec = spec_of("{every: 2}")
    assert changeable(spec.space) == ["train.lr_g", "train.beta1", "augment.ada_p"]
    assert spec.population == Population(every=2, change=changeable(spec.space))


@pytest.mark.parametrize(
    ("population", "message"),
    [
        ("3", "population: must be a mapping"),
        ("{every: 8}", "population.every: must be less than train.total_kimg"),
        ("{every: 2, quantile: 0.7}", "population.quantile: must be at most 0.5"),
        ("{every: 2, change: [model.ngf]}", "population.change: must list searched numbers"),
        ("{evry: 2}", "population.evry: is not a known key; did you mean every?"),
    ],
)
def test_faults(population, message):
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        spec_of(population)


def donors_of(algorithm, values):
    return [
        algorithm.choose_donor(Observation(trial, 2.0, value)) for trial, value in enumerate(values)
    ]


def test_the_worst_at_a_rung_take_over_from_the_best_at_it():
    spec = spec_of("{every: 2}")
    algorithm = algorithm_of(spec)
    values = [5.0, 1.0, 3.0, 9.0, 2.0, 8.5, 0.5, 9.5]
    donors = donors_of(algorithm, values)
    assert donors[:3] == [None] * 3  # a quarter of three is nobody
    assert donors[3] == 1 and donors[4:7] == [None] * 3
    assert donors[7] in (6, 1)
    assert algorithm.possible_donors(1) == [6, 1]
    # Between two rungs, again at the same, and at the end nothing is compared.
    assert algorithm.choose_donor(Observation(3, 3.0, 99.0)) is None
    assert algorithm.choose_donor(Observation(3, 3.0, 99.0)) is None
    assert algorithm.choose_donor(Observation(3, 8.0, 99.0)) is None
    assert donors == donors_of(algorithm_of(spec), values)


def test_perturbed_points_stay_in_the_space_and_differ():
    spec = spec_of(f"{{every: 2, change: {CHANGE}}}")
    algorithm = algorithm_of(spec)
    points = [algorithm.perturb(POINT, trial, 2.0) for trial in range(200)]
    for point in points:
        assert all(p.contains(point[p.name]) for p in spec.space), point
        assert (point["model.ngf"], point["train.loss"]) == (8, "hinge")
    assert len({point["train.lr_g"] for point in points}) > 20
    assert {point["augment.ada_p"] for point in points} == {0.0, 0.2, 0.4}
    assert points[0] == algorithm_of(spec).perturb(POINT, 0, 2.0)


CONDITIONAL = """
name: t
method: random
metric: {name: fd_efficientnet_lite0}
run_cap: 8
population: {every: 2}
base: {eval: {extractor: efficientnet_lite0, every_kimg: 1}, train: {total_kimg: 8}}
parameters:
  train.lecam_weight: {values: [0.0, 0.3]}
  train.lr_g:
    {distribution: log_uniform_values, min: 1e-4, max: 1e-2, when: {train.lecam_weight: 0.3}}
  augment.ada_p: {values: [0.0, 0.4]}
  train.batch_size: {values: [4, 8], when: {augment.ada_p: 0.4}}
  train.beta1: {values: [0.0, 0.5]}
  train.r1_gamma: {values: [0.0, 1.0], when: {train.beta1: 0.5}}
  train.d_steps: {values: [1, 2], when: {train.r1_gamma: 1.0}}
"""


def test_a_change_may_activate_another_parameter():
    spec = spec_from_text(CONDITIONAL, "t.yaml")
    # Batch sizes are fixed, so what they depend on must not change, either.
    assert spec.population.change == ["train.lecam_weight", "train.lr_g"]
    algorithm = algorithm_of(spec)
    off = {"train.lecam_weight": 0.0, "augment.ada_p": 0.0, "train.beta1": 0.0}
    points = [algorithm.perturb(off, trial, 2.0) for trial in range(50)]
    assert all(("train.lr_g" in p) == (p["train.lecam_weight"] == 0.3) for p in points)
    assert len({p.get("train.lr_g") for p in points}) > 10  # random values, None among them
    on = {**off, "train.lecam_weight": 0.3, "train.lr_g": 1e-3}
    points = [algorithm.perturb(on, trial, 2.0) for trial in range(50)]
    assert {p["train.lecam_weight"] for p in points} == {0.0, 0.3}
    assert all(("train.lr_g" in p) == (p["train.lecam_weight"] == 0.3) for p in points)


def run_of(point):
    return tiny.config(**{"augment.policy": "bgc", **point})


def save_checkpoint(folder, config, ada):
    state = new_state(config, 4, CPU)
    state.ada = ada
    return checkpoint.save(folder, state, config, {"kimg": 2.0})


@pytest.mark.parametrize("controller", ["stylegan2", "none"])
@pytest.mark.parametrize("change", ["train.lr_g", "augment.ada_p"])
def test_a_trial_starts_from_the_perturbed_p_or_else_from_the_donors(tmp_path, change, controller):
    spec = spec_of(f"{{every: 2, quantile: 0.5, change: [{change}]}}")
    trials, donor_ada = tmp_path / "trials", ada_state(0.31, CPU, 0.7, 2)

    def configure(point):
        return run_of({**point, "augment.ada": controller})

    exchange = WeightExchange(algorithm_of(spec), trials, configure)
    for trial, ada in enumerate((donor_ada, ada_state(0.9, CPU))):
        saved = save_checkpoint(trials / f"{trial:05d}" / "checkpoint-2", configure(POINT), ada)
        exchange.observe(Observation(trial, 2.0, 10.0 * trial), {"checkpoint": saved.name}, POINT)
    (order,) = read_orders(trials / "00001")
    assert order["donor"] == 0
    taken_over, config = trials / "00001" / order["checkpoint"], configure(order["point"])
    state = new_state(config, 4, CPU)
    checkpoint.restore(taken_over, state, config)
    changed = ada_state(order["point"]["augment.ada_p"], CPU)
    assert state.ada == (changed if change == "augment.ada_p" else donor_ada)
    assert changed.p in (0.0, 0.2, 0.4)
    checkpoint.restore(trials / "00000" / "checkpoint-2", state, configure(POINT))
    assert state.ada == donor_ada, "the donor's own checkpoint has changed"


def test_a_perturbed_point_that_is_no_valid_run_is_not_taken_over(tmp_path):
    spec = spec_of("{every: 2, quantile: 0.5, change: [train.lr_g]}")

    def refuse(point):
        raise UserError("these values do not go together")

    exchange = WeightExchange(algorithm_of(spec), tmp_path / "trials", refuse)
    for trial in range(2):
        folder = tmp_path / "trials" / f"{trial:05d}" / "checkpoint-2"
        folder.mkdir(parents=True)
        (folder / "metadata.json").write_text("{}")
        exchange.observe(Observation(trial, 2.0, 10.0 * trial), {"checkpoint": folder.name}, POINT)
    assert not list(tmp_path.glob("trials/*/orders.jsonl"))


@pytest.mark.slow
def test_trials_take_over_weights_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    spec = spec_of("{every: 2, quantile: 0.5, change: [train.lr_g]}", cap=6)
    options = TuneOptions(runs_dir=tmp_path, wandb="off", quiet=True, max_concurrent=2)
    with connected(None):
        folder = run_search(spec, options, objectives.inherited)
    summary = json.loads((folder / "summary.json").read_text())
    names = [trial["trial_id"] for trial in summary["trials"]]
    orders_of = {name: read_orders(folder / "trials" / name) for name in names}
    assert all(trial["state"] == "finished" for trial in summary["trials"])
    assert sum(map(len, orders_of.values())) >= 1
    for trial in summary["trials"]:
        orders = orders_of[trial["trial_id"]]
        log = (folder / "trials" / trial["trial_id"] / "ran.txt").read_text().splitlines()
        assert len(log) == 1 + len(orders)
        for order, line in zip(orders, log[1:], strict=True):
            assert line.startswith(
                f"begin at {order['kimg']:g} with lr_g {order['point']['train.lr_g']:.6g}"
            )
        if orders:
            assert trial["point"] == orders[-1]["point"]
            assert f"copied the weights of trial {orders[0]['donor']:05d}" in trial["reason"]
    # A trial takes over what its donor had at this position.
    trial, order = next((name, orders[0]) for name, orders in orders_of.items() if orders)
    donor = folder / "trials" / f"{order['donor']:05d}" / "metrics.jsonl"
    rows = [json.loads(line) for line in donor.read_text().splitlines()]
    debt = next(row[objectives.METRIC] for row in rows if row["kimg"] == order["kimg"])
    log = (folder / "trials" / trial / "ran.txt").read_text().splitlines()
    assert log[1].endswith(f"debt {debt:.6g}")
    assert summary["best"]["config"]["train"]["lr_g"] == pytest.approx(
        next(o["point"]["train.lr_g"] for o in reversed(orders_of[summary["best"]["trial_id"]]))
        if orders_of[summary["best"]["trial_id"]]
        else summary["best"]["config"]["train"]["lr_g"]
    )
    assert not list(folder.glob("trials/*/taken-over-*"))


KILLED = "{every: 2, quantile: 0.5, change: [train.lr_g]}"


class Driver:
    """A driver's scheduler on the trials' folders; another one stands for a restarted driver."""

    def __init__(self, trials: Path, rules: str = ""):
        spec = spec_of(f"{KILLED}\n{rules}")
        exchange = WeightExchange(algorithm_of(spec), trials, run_of)
        stopping = StoppingRules(spec.early_terminate, 8.0)
        self.trials = trials
        self.scheduler = EarlyStoppingScheduler(stopping, spec.metric, trials, exchange)

    def report(self, number: int, kimg: float, value: float, **more) -> str:
        folder = self.trials / f"{number:05d}"
        row = {"kimg": kimg, objectives.METRIC: value, "checkpoint": f"checkpoint-{kimg:g}"}
        checkpoint = folder / row["checkpoint"]
        if not more and not checkpoint.exists():
            checkpoint.mkdir(parents=True)
            (checkpoint / "metadata.json").write_text("{}")
        trial = SimpleNamespace(
            trial_id=folder.name, config={"number": number, "point": POINT}, last_result={}
        )
        return self.scheduler.on_trial_result(None, trial, {**row, **more})


def test_a_row_reported_again_after_a_kill_gives_no_second_order(tmp_path):
    before = Driver(tmp_path / "trials")
    before.report(0, 2.0, 1.0)
    before.report(1, 2.0, 9.0)
    orders = read_orders(tmp_path / "trials" / "00001")
    assert [order["donor"] for order in orders] == [0]
    # The driver is killed before the trial acts; another trial is the best at this kimg since.
    after = Driver(tmp_path / "trials")
    after.report(2, 2.0, 0.5)
    after.report(1, 2.0, 9.0)
    assert read_orders(tmp_path / "trials" / "00001") == orders


def test_rows_before_the_last_one_give_no_orders_after_a_kill(tmp_path):
    """Else the trial would continue from its own weights with the settings of another trial."""
    trials = tmp_path / "trials"
    before = Driver(trials)
    before.report(1, 2.0, 9.0)
    before.report(1, 4.0, 1.0)
    after = Driver(trials)
    for number in (0, 2):
        after.report(number, 2.0, 1.0)
    after.report(1, 2.0, 9.0, **{REPEATED: True})  # the worst by now, but long past
    after.report(1, 4.0, 1.0)
    assert read_orders(trials / "00001") == []
    assert after.report(0, 4.0, 9.0) == "CONTINUE" and read_orders(trials / "00000")


def test_rows_before_the_last_one_stop_no_trial_after_a_kill(tmp_path):
    rules = "early_terminate: {type: hyperband, min_iter: 2, eta: 2}"
    after = Driver(tmp_path / "trials", rules)
    for number in (0, 2):
        assert after.report(number, 2.0, 1.0) == "CONTINUE"
    assert after.report(1, 2.0, 9.0, **{REPEATED: True}) == "CONTINUE"
    assert not (tmp_path / "trials" / "00001" / "stop.json").exists()
    assert after.report(1, 4.0, 9.0) == "STOP"
    stop = json.loads((tmp_path / "trials" / "00001" / "stop.json").read_text())
    assert stop["kimg"] == 4.0


def test_the_point_of_a_kept_checkpoint_is_that_of_its_own_time(tmp_path):
    """After a kill, the last row of a trial with an order for it belongs to the point before."""
    before = Driver(tmp_path / "trials")
    before.report(0, 2.0, 1.0)
    before.report(1, 2.0, 9.0)
    (order,) = read_orders(tmp_path / "trials" / "00001")
    assert order["point"] != POINT
    shutil.rmtree(tmp_path / "population")
    Driver(tmp_path / "trials").report(1, 2.0, 9.0)
    (kept,) = tmp_path.glob("population/*/00001/point.json")
    assert json.loads(kept.read_text()) == POINT


def test_a_kill_leaves_no_incomplete_order(tmp_path):
    driver = Driver(tmp_path / "trials")
    driver.report(0, 2.0, 1.0)
    driver.report(1, 2.0, 9.0)
    path = tmp_path / "trials" / "00001" / "orders.jsonl"
    with path.open() as earlier:
        driver.report(0, 4.0, 1.0)
        driver.report(1, 4.0, 9.0)
        assert len(read_orders(path.parent)) == 2
        assert len(earlier.read().splitlines()) == 1, "the file was changed in place"


def test_a_restarted_trial_marks_its_earlier_rows(tmp_path, monkeypatch):
    folder, reported = tmp_path / "00000", []
    for kimg in (2, 4, 6):
        checkpoint = folder / f"checkpoint-{kimg}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "metadata.json").write_text(json.dumps({"kimg": kimg}))
        append_row(folder, {"kimg": kimg, "outcome": "running", "checkpoint": checkpoint.name})
    monkeypatch.setattr("ray.tune.report", reported.append)
    repeat_rows(folder)
    assert [row["kimg"] for row in reported] == [2, 4, 6]
    assert [bool(row.get(REPEATED)) for row in reported] == [True, True, False]
    assert [REPEATED in row for row in read_rows(folder)] == [False] * 3
