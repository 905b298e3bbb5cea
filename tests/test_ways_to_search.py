"""Ways to search of others (benchmarks/anchors.py), and the table that compares ways with ours."""

import argparse
import importlib.util
import json
import math

import anchors
import compare
import comparison
import numpy as np
import optuna
import pytest
import ways_to_search
from design import point, search
from replay import Step
from search_task import BUDGET, WORKERS, best_points, run_trials
from truth import Truth, recordings

from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.space import SearchSpace, assign, same

HAS_SMAC = importlib.util.find_spec("smac") is not None
SMAC = pytest.mark.skipif(not HAS_SMAC, reason="needs the packages of fastgan-ray[anchors]")
SPACE = """
name: b
{method}
metric: {{name: fd_efficientnet_lite0}}
run_cap: 200
seed: {seed}
base: {{eval: {{extractor: efficientnet_lite0}}, train: {{total_kimg: {kimg}}}}}
parameters:
  model.ngf: {{values: [4, 8]}}
  model.spectral_norm: {{values: [true, false]}}
  augment.policy: {{values: ["", "color,translation"]}}
  augment.translation:
    {{min: 0.05, max: 0.4, when: {{augment.policy: "color,translation"}}}}
  train.lr_g: {{distribution: log_uniform_values, min: 1e-4, max: 1e-2}}
"""


class Bowl:
    """A task whose value depends on the learning rate and on the policy; high rates diverge."""

    kimg = (0.25, 0.5, 0.75, 1.0)
    best = 100.0

    def __init__(self):
        self.trained = []

    def spec(self, method, rule, seed, total_kimg):
        return spec_from_text(SPACE.format(method=method, seed=seed, kimg=total_kimg), "b.yaml")

    def truth(self, point):
        if point["train.lr_g"] > 8e-3:
            return math.inf
        distance = math.log10(point["train.lr_g"] / 1e-3) ** 2
        return self.best * (1 + distance + 0.3 * (point["augment.policy"] == ""))

    def curve(self, point, seed):
        self.trained.append((point, seed))
        last = self.truth(point)
        if math.isinf(last):
            return [Step(self.kimg[0], None, 0.0, 0.25, "diverged")]
        return [Step(kimg, last * (2 - kimg), 0.0, 0.25) for kimg in self.kimg]


def space() -> SearchSpace:
    return Bowl().spec("method: random", "", 0, 1.0).space


def ways() -> list:
    return [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                name in ways_to_search.NEEDS
                and ("/" in ways_to_search.NEEDS[name] or not HAS_SMAC),
                reason="needs the packages of fastgan-ray[anchors], or a sampler of OptunaHub",
            ),
        )
        for name in (*compare.ANCHORS, comparison.RANDOM, comparison.DEFAULT)
    ]


@pytest.mark.parametrize("way", ways())
def test_each_way_spends_the_budget_and_finds_what_the_task_has(way):
    task = Bowl()
    points = ways_to_search.searches()[way](task, 0)
    costs = [cost for cost, _ in points]
    assert costs == sorted(costs)
    assert BUDGET - WORKERS <= costs[-1] <= BUDGET + WORKERS
    assert task.truth(points[-1][1]) < 1.2 * task.best
    for trained, _ in task.trained:
        assert set(trained) == {p.name for p in space() if p.active(trained)}
        assert all(p.contains(trained[p.name]) for p in space() if p.name in trained)


@pytest.mark.slow
@pytest.mark.parametrize("way", ways())
def test_a_way_with_the_same_seed_finds_the_same(way):
    found = [ways_to_search.searches()[way](Bowl(), 3) for _ in range(2)]
    assert found[0] == found[1]


def test_trials_run_to_their_end_on_as_many_workers_as_there_are():
    told, running, most = [], 0, 0

    def ask(number):
        nonlocal running, most
        running += 1
        most = max(most, running)
        return {"number": number}, [Step(1.0, 5.0, 0.0, 0.5), Step(2.0, 4.0, 0.0, 0.5)]

    def tell(trial, cost):
        nonlocal running
        running -= 1
        told.append((trial.number, cost))

    trials = run_trials(ask, tell, 2)
    assert most == 2
    assert [number for number, _ in told] == list(range(len(trials)))
    assert told[0] == (0, 1.5)  # the other worker has reported once, and reports next
    assert len(trials) == BUDGET + 1  # one starts while the last of the budget is trained
    assert [point["number"] for _, point in best_points(trials)] == [0] * len(trials)


@pytest.mark.parametrize("needed", ["a_package_that_nobody_has", "smac"])
def test_what_is_missing_is_said(needed):
    reason = anchors.missing(needed)
    absent = importlib.util.find_spec(needed) is None
    assert reason == (f"the package {needed} is not installed" if absent else "")


def test_a_sampler_of_optunahub_that_does_not_load_is_named_with_the_cause(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(anchors, "_from_hub", lambda sampler: importlib.import_module("optuna.no"))
    reason = anchors.missing("samplers/one_that_needs_another_optuna")
    assert f"does not run with Optuna {optuna.__version__}: No module named" in reason

    def offline(sampler):
        raise ConnectionError("no route to the host")

    monkeypatch.setattr(anchors, "_from_hub", offline)
    reason = anchors.missing("samplers/one_that_is_far_away")
    assert reason.endswith("could not be downloaded (ConnectionError)")


@SMAC
def test_a_config_space_has_the_values_and_conditions_of_the_search_space():
    library = search("32px").space
    config_space = anchors.config_space(library)
    config_space.seed(0)
    configurations = config_space.sample_configuration(200)
    for configuration in configurations:
        values = anchors.point_of(library, dict(configuration))
        assert set(values) == set(dict(configuration))
        again = assign(library, lambda parameter, values=values: values[parameter.name])
        assert all(same(again[name], values[name]) for name in values)
        assert all(p.contains(values[p.name]) for p in library if p.name in values)
    assert {c["train.loss"] for c in configurations} == {
        f'"{loss}"' for loss in next(p for p in library if p.name == "train.loss").values
    }


@SMAC
def test_hyperband_of_smac_continues_a_training_instead_of_paying_for_it_twice():
    task = Bowl()
    ways_to_search.searches()["SMAC3 multi-fidelity, Hyperband 3"](task, 0)
    keys = [str(trained) for trained in task.trained]
    assert len(keys) > len(set(keys))
    assert len(keys) > BUDGET + WORKERS


def curves(**regrets):
    """Constant regrets of three seeds, {way: (seed 0, seed 1, seed 2)}, on one set."""
    return {
        ("food", way): np.array(values, dtype=float)[:, None].repeat(len(comparison.COSTS), axis=1)
        for way, values in regrets.items()
    }


def test_the_mean_has_the_standard_error_over_seeds():
    assert comparison.mean(np.array([1.0, 2.0, 3.0])) == (2.0, pytest.approx(1 / math.sqrt(3)))
    assert str(comparison.mean(np.array([1.0, 2.0, 3.0]))) == "2.0 ± 0.6"
    assert comparison.mean(np.array([1.0, math.inf])).value == math.inf


def test_above_is_only_what_is_above_beyond_its_error_on_the_same_tasks():
    table = curves(a=(1, 5, 9), b=(2, 6, 10.1), c=(0, 7, 9))
    a, b, c = (table["food", way] for way in "abc")
    assert comparison.above(b, a, 8)  # by 1 on each task, though tasks differ by 4
    assert not comparison.above(a, b, 8)
    assert not comparison.above(c, a, 8)
    assert comparison.above(np.full_like(a, math.inf), a, 8)


def test_a_way_with_fewer_seeds_is_compared_on_the_seeds_that_it_has():
    table = curves(**{"random, none": (2, 4, 40), "slow": (1, 2, math.nan)})
    slow, random = table["food", "slow"], table["food", "random, none"]
    assert comparison.mean(comparison.at(slow, 8)).value == 1.5
    assert comparison.ratio(table, "food", "slow", 8) == pytest.approx(1.5 / 3)
    assert not comparison.above(slow, random, 8)
    assert comparison.above(random, slow, 8)  # by 1 and by 2: 1.5 with an error of 0.5
    (row,) = (line for line in comparison.tables(table, ["food"], ["slow"], []) if "food" in line)
    assert row.startswith("| food | slow | 1.5 ± 0.5 |")
    assert row.endswith("| 2% |")  # at once below what random search has in the end, 4


def test_searches_of_other_recordings_are_not_used_again(tmp_path, capsys):
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / "food.jsonl").write_text("{}\n")
    digest = compare.digest_of(folder, "32px")
    assert compare.digest_of(folder, "64px") != digest
    searched = compare.Searched("food", 3, {"tpe, none": [2.0]}, {"tpe, none": 0.5})
    kept = tmp_path / "kept.jsonl"
    kept.write_text(json.dumps({**searched._asdict(), "recordings": digest}) + "\n")
    assert compare.finished(kept, digest) == [searched]
    (folder / "food.jsonl").write_text("{}\n{}\n")
    assert compare.finished(kept, compare.digest_of(folder, "32px")) == []
    assert "1 line left out: of other recordings" in capsys.readouterr().out


def test_the_cost_is_where_the_median_curve_is_down_to_the_goal():
    curve = np.linspace(64, 1, len(comparison.COSTS))
    assert comparison.reach(curve, 60.0) == comparison.COSTS[4]
    assert comparison.reach(curve, 0.5) == math.inf


def test_tables_have_places_worst_sets_and_where_a_way_is_worse():
    one = curves(**{"random, none": (4, 4, 4), "tpe, asha 3": (2, 2.1, 1.9), "X": (1, 1.1, 0.9)})
    other = {("wares", way): 2 * values for (_, way), values in one.items()}
    other["wares", "tpe, asha 3"] = np.full_like(one["food", "X"], 16.0)
    ways = ["random, none", "tpe, asha 3", "X"]
    text = "\n".join(comparison.tables({**one, **other}, ["food", "wares"], ways, ["X"]))
    assert "| food | tpe, asha 3 (the default before) | 2.0 ± 0.1 |" in text
    ratio = "1.00 (2.00)"  # sqrt(2/4 * 16/8), and 16/8
    marks = "8, 16, 32"
    assert (
        f"| 2 | tpe, asha 3 (the default before) | {ratio} | {ratio} | {ratio} | inf% (inf%) | "
        f"wares at {marks} | food at {marks}; wares at {marks} |" in text
    ) or (
        f"| 3 | tpe, asha 3 (the default before) | {ratio} | {ratio} | {ratio} | inf% (inf%) | "
        f"wares at {marks} | food at {marks}; wares at {marks} |" in text
    )
    assert "| 1 | X | 0.25 (0.25) | 0.25 (0.25) | 0.25 (0.25) | 2% (2%) | none | none |" in text
    assert "The best anchor at 32: X." in text


def test_the_report_names_the_ways_that_did_not_run():
    lines = [
        {
            "number": number,
            "outcome": "finished",
            "point": point("32px", number),
            "cpu_seconds": 1.0,
            "rows": {"kimg": [0.8, 1.6], "fd_efficientnet_lite0": [300 + number, 200 + number]},
        }
        for number in (0, 0, *range(12))
    ]
    truth = Truth(recordings(search("32px").space, lines))
    options = argparse.Namespace(role="choose", scale="32px", seeds=3, slow_seeds=None)
    text = compare.report(
        options,
        {"food": truth},
        curves(**{"random, none": (4, 4, 4)}),
        {"random, none": [120.0, 100.0, 140.0]},
        {"SMAC3, none": "the package smac is not installed"},
    )
    assert "\nNot run: SMAC3, none; the package smac is not installed.\n" in text
    assert "\nLeft out by `--ways`: random, none, expected; qmc, none; " in text
    assert "| food | 12 |" in text
    assert "| random, none | 120.0 |" in text
    assert "all searches together take 3 minutes of 2 cores" in text
