"""The searcher without Ray: what it suggests, reports to the study, saves and restores."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from fastgan_ray.errors import UserError
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import SearchSpec, run_config
from fastgan_ray.search.space import grid
from fastgan_ray.tune.suggest.searcher import StudySearcher
from fastgan_ray.tune.suggest.study import point_count

METRIC = "fd_efficientnet_lite0"
SPACE = """
  model.ngf: {values: [8, 16, 64]}
  train.lr_g: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}
  train.loss: {values: [hinge, logistic]}
  train.r1_gamma: {distribution: uniform, min: 0.1, max: 10, when: {train.loss: logistic}}
  train.batch_size: {min: 2, max: 16}
"""
FINITE = """
  model.ngf: {values: [8, 16, 64]}
  model.g_noise: {values: [true, false]}
"""


def make_spec(method: str = "bayes", space: str = SPACE, cap: int = 100, **more: Any) -> SearchSpec:
    target = f", target: {more['target']}" if "target" in more else ""
    cap_line = "" if method == "grid" else f"run_cap: {cap}"
    return spec_from_text(
        f"""
name: t
method: {method}
metric: {{name: {METRIC}, goal: minimize{target}}}
{cap_line}
seed: 5
base: {{eval: {{extractor: efficientnet_lite0}}, train: {{total_kimg: 4}}}}
parameters:
{space}""",
        "t.yaml",
    )


def make_searcher(tmp_path: Path, spec: SearchSpec, **more: Any) -> StudySearcher:
    return StudySearcher(spec, tmp_path / "study.journal", **more)


def ask(searcher: StudySearcher) -> dict[str, Any] | None:
    """The next suggestion's point; None at the end."""
    suggestion = searcher.suggest("an id of Ray's")
    return None if suggestion == "FINISHED" else suggestion["point"]


def finish(searcher: StudySearcher, number: int, value: float) -> None:
    row = {"kimg": 4.0, METRIC: value, "outcome": "finished"}
    searcher.on_trial_complete(f"{number:05d}", row)


def states(searcher: StudySearcher) -> list[TrialState]:
    return [trial.state for trial in searcher.study.trials]


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_first_is_the_published_default(tmp_path, method):
    point = ask(make_searcher(tmp_path, make_spec(method)))
    assert point == {
        "model.ngf": 64,
        "train.lr_g": 2e-4,
        "train.loss": "hinge",
        "train.batch_size": 8,
    }


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_conditional_parameters_are_suggested_only_under_their_condition(tmp_path, method):
    searcher = make_searcher(tmp_path, make_spec(method))
    points = []
    for number in range(25):
        points.append(ask(searcher))
        finish(searcher, number, points[-1]["train.lr_g"])
    assert {"train.r1_gamma" in point for point in points} == {True, False}
    for point in points:
        assert ("train.r1_gamma" in point) == (point["train.loss"] == "logistic")
        assert isinstance(point["train.batch_size"], int) and 2 <= point["train.batch_size"] <= 16


def test_sobol_points_are_spread_evenly(tmp_path):
    space = "\n  train.lr_g: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}"
    searcher = make_searcher(tmp_path, replace(make_spec("random", space), sampler="qmc"))
    rates = []
    for number in range(16):
        rates.append(ask(searcher)["train.lr_g"])
        finish(searcher, number, rates[-1])
    # The published default replaces the first of 16 points, each in another of 16 equal parts.
    assert len({int(4 * (math.log10(rate) + 5)) for rate in rates[1:]}) == 15


def test_a_suggestion_has_the_complete_configuration(tmp_path):
    spec = make_spec()
    suggestion = make_searcher(tmp_path, spec).suggest("x")
    assert suggestion["number"] == 0
    assert suggestion["run"] == run_config(spec, suggestion["point"]).model_dump()
    assert suggestion["run"]["train"]["total_kimg"] == 4


def test_a_grid_is_tried_once_with_the_default_first(tmp_path):
    spec = make_spec("grid", FINITE)
    searcher = make_searcher(tmp_path, spec)
    points = [ask(searcher) for _ in range(7)]
    assert points[0] == {"model.ngf": 64, "model.g_noise": True}
    assert points[6] is None
    assert sorted(map(str, points[:6])) == sorted(map(str, grid(spec.space)))


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_finite_space_is_tried_completely_without_repeats(tmp_path, method):
    searcher = make_searcher(tmp_path, make_spec(method, FINITE))
    points = []
    while (point := ask(searcher)) is not None:
        finish(searcher, len(points), point["model.ngf"])
        points.append(str(point))
    assert len(points) == len(set(points)) == 6


def test_run_cap_and_concurrency(tmp_path):
    searcher = make_searcher(tmp_path, make_spec(cap=3), max_concurrent=2)
    assert ask(searcher) and ask(searcher)
    assert searcher.suggest("x") is None
    finish(searcher, 0, 1.0)
    assert ask(searcher)
    assert ask(searcher) is None


def test_how_the_study_records_each_end(tmp_path):
    searcher = make_searcher(tmp_path, make_spec())
    for _ in range(6):
        ask(searcher)
    row = {"kimg": 2.0, METRIC: 50.0, "outcome": "running"}
    searcher.on_trial_result("00000", row)
    finish(searcher, 0, 40.0)
    searcher.on_trial_result("00001", {**row, "kimg": 1.0})
    searcher.on_trial_complete("00001", {**row, METRIC: 45.0})  # stopped at this row
    for number, outcome in ((2, "diverged"), (3, "out_of_memory"), (4, "failed")):
        searcher.on_trial_result(f"{number:05d}", row)
        searcher.on_trial_complete(f"{number:05d}", {"kimg": 2.0, "outcome": outcome})
    searcher.on_trial_complete("00005", None, error=True)
    complete, pruned, *failed = searcher.study.trials
    assert (complete.state, complete.value) == (TrialState.COMPLETE, 40.0)
    assert complete.intermediate_values == {2000: 50.0, 4000: 40.0}
    assert pruned.state == TrialState.PRUNED
    assert pruned.intermediate_values == {1000: 50.0, 2000: 45.0}
    states_of = [trial.state for trial in failed]
    assert states_of == [TrialState.PRUNED] * 2 + [TrialState.FAIL] * 2
    assert [bool(trial.constraints) for trial in failed] == [True, True, False, False]
    assert complete.user_attrs == {"trial_id": "00000", "seed": 0, "outcome": "finished"}
    outcomes = [trial.user_attrs["outcome"] for trial in (pruned, *failed)]
    assert outcomes == ["stopped", "diverged", "out_of_memory", "failed", "failed"]


def test_repeated_rows_and_ends_change_nothing(tmp_path):
    searcher = make_searcher(tmp_path, make_spec())
    ask(searcher)
    row = {"kimg": 2.0, METRIC: 50.0, "outcome": "running"}
    searcher.on_trial_result("00000", row)
    searcher.on_trial_result("00000", {**row, METRIC: 51.0})
    finish(searcher, 0, 40.0)
    before = (tmp_path / "study.journal").read_bytes()
    finish(searcher, 0, 30.0)
    searcher.on_trial_result("unknown", row)
    assert (tmp_path / "study.journal").read_bytes() == before
    assert searcher.study.trials[0].intermediate_values == {2000: 50.0, 4000: 40.0}


def test_target_ends_the_search(tmp_path):
    searcher = make_searcher(tmp_path, make_spec(target=10))
    ask(searcher)
    ask(searcher)
    searcher.on_trial_result("00000", {"kimg": 1.0, METRIC: 11.0})
    assert ask(searcher)
    searcher.on_trial_result("00001", {"kimg": 1.0, METRIC: 10.0})
    assert ask(searcher) is None


def test_points_that_are_no_valid_run_are_recorded_and_passed_over(tmp_path):
    def configure(spec, point):
        if point["train.batch_size"] % 2:
            raise UserError("batch_size must be even")
        return run_config(spec, point)

    searcher = make_searcher(tmp_path, make_spec(), configure=configure)
    points = [ask(searcher) for _ in range(12)]
    assert all(point["train.batch_size"] % 2 == 0 for point in points)
    rejected = [trial for trial in searcher.study.trials if trial.state == TrialState.FAIL]
    assert rejected
    assert {trial.user_attrs["reason"] for trial in rejected} == {"batch_size must be even"}


def test_a_search_ends_if_no_point_is_valid(tmp_path):
    def configure(spec, point):
        raise UserError("no")

    assert ask(make_searcher(tmp_path, make_spec(), configure=configure)) is None


def test_list_valued_choices(tmp_path):
    space = """
  model.g_channels: {values: [[64, 32, 16, 8, 8, 4, 4], [32, 16, 8, 8, 4, 4, 2], null]}
  train.lr_g: {distribution: uniform, min: 1e-5, max: 1e-2}"""
    searcher = make_searcher(tmp_path, make_spec(space=space))
    points = [ask(searcher) for _ in range(9)]
    assert points[0]["model.g_channels"] is None
    assert [32, 16, 8, 8, 4, 4, 2] in [point["model.g_channels"] for point in points]


@pytest.mark.parametrize("distribution", ["q_uniform", "q_log_uniform_values"])
def test_stepped_values_are_multiples(tmp_path, distribution):
    space = f"""
  train.reconstruction_weight: {{distribution: {distribution}, min: 1, max: 8.2, q: 0.4}}
  model.ngf: {{distribution: {distribution}, min: 6, max: 64, q: 4}}"""
    searcher = make_searcher(tmp_path, make_spec(space=space))
    domains = {parameter.name: parameter for parameter in searcher._spec.space}
    for number in range(15):
        point = ask(searcher)
        assert all(domains[name].contains(value) for name, value in point.items()), point
        assert isinstance(point["model.ngf"], int)
        finish(searcher, number, 1.0)


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_restore_returns_to_exactly_the_same_state(tmp_path, method):
    spec = make_spec(method)
    searcher = make_searcher(tmp_path, spec)
    for number in range(12):
        finish(searcher, number, abs(ask(searcher)["train.lr_g"] - 1e-3))
    ask(searcher)
    searcher.on_trial_result("00012", {"kimg": 1.0, METRIC: 3.0})
    searcher.save(str(tmp_path / "saved"))
    finish(searcher, 12, 1.0)
    expected = [ask(searcher) for _ in range(3)]

    restored = make_searcher(tmp_path, spec)
    restored.restore(str(tmp_path / "saved"))
    assert states(restored)[12] == TrialState.RUNNING
    assert restored.study.trials[12].intermediate_values == {1000: 3.0}
    finish(restored, 12, 1.0)
    assert [ask(restored) for _ in range(3)] == expected


def test_save_before_anything_was_suggested(tmp_path):
    searcher = make_searcher(tmp_path, make_spec())
    searcher.save(str(tmp_path / "saved"))
    first = ask(searcher)
    searcher.restore(str(tmp_path / "saved"))
    assert ask(searcher) == first
    assert len(searcher.study.trials) == 1


def test_same_seed_same_suggestions(tmp_path):
    runs = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        searcher = make_searcher(tmp_path / folder, make_spec())
        points = []
        for number in range(12):
            points.append(ask(searcher))
            finish(searcher, number, points[-1]["train.lr_g"])
        runs.append(points)
    assert runs[0] == runs[1]


@pytest.mark.parametrize("seed", [0, 3])
def test_tpe_comes_closer_than_random(tmp_path, seed):
    """Over seeds 0 to 7 the ratio was 0.44 to 0.65."""

    def distance(method: str) -> float:
        (tmp_path / method).mkdir()
        searcher = make_searcher(tmp_path / method, replace(make_spec(method), seed=seed))
        distances = []
        for number in range(40):
            distances.append(abs(math.log10(ask(searcher)["train.lr_g"] / 1e-3)))
            finish(searcher, number, distances[-1])
        return sum(distances[10:])

    assert distance("bayes") < 0.8 * distance("random")


SEEDS = """
  model.ngf: {values: [8, 16, 64]}
  train.lr_g: {distribution: q_log_uniform_values, min: 0.0001, max: 0.001, q: 0.0001}
  train.loss: {values: [hinge, logistic]}
  train.r1_gamma: {distribution: uniform, min: 0.1, max: 10, when: {train.loss: logistic}}
"""


def with_seeds(spec: SearchSpec, seeds: int, **more: Any) -> SearchSpec:
    return replace(spec, seeds=seeds, base={**spec.base, "train.seed": 7}, **more)


def without_seed(point: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in point.items() if name != "train.seed"}


def test_a_finished_configuration_is_repeated_before_a_new_point(tmp_path):
    searcher = make_searcher(tmp_path, with_seeds(make_spec(space=SEEDS), 3))
    first, other = ask(searcher), ask(searcher)
    assert first["train.seed"] == other["train.seed"] == 7
    assert without_seed(first) != without_seed(other)
    finish(searcher, 1, 2.0)
    suggestion = searcher.suggest("x")
    assert suggestion["point"] == {**other, "train.seed": 8}
    assert suggestion["run"]["train"]["seed"] == 8
    third = ask(searcher)  # the second seed still runs, so a new point follows
    assert without_seed(third) not in (without_seed(first), without_seed(other))
    finish(searcher, 2, 3.0)
    finish(searcher, 0, 1.0)
    assert ask(searcher) == {**first, "train.seed": 8}  # the earliest configuration comes first
    assert ask(searcher) == {**other, "train.seed": 9}
    finish(searcher, 5, 1.0)
    new = ask(searcher)  # all three seeds of `other` have run
    assert without_seed(new) not in map(without_seed, (first, other, third))
    study = searcher.study.trials
    attributes = [(t.user_attrs["seed"], t.user_attrs.get("repeat_of")) for t in study]
    assert attributes == [
        *((7, None), (7, None), (8, "00001"), (7, None)),
        *((8, "00000"), (9, "00001"), (7, None)),
    ]
    assert study[2].params == study[1].params


@pytest.mark.parametrize("outcome", ["running", "diverged", "out_of_memory", "failed"])
def test_a_configuration_that_did_not_finish_gets_no_further_seed(tmp_path, outcome):
    searcher = make_searcher(tmp_path, with_seeds(make_spec(space=SEEDS), 2))
    first = ask(searcher)
    row = {"kimg": 2.0, "outcome": outcome} | ({METRIC: 50.0} if outcome == "running" else {})
    searcher.on_trial_complete("00000", row)  # "running": a rule has stopped the trial
    points = [ask(searcher) for _ in range(3)]
    assert without_seed(first) not in map(without_seed, points)


def test_the_last_trials_are_kept_for_the_seeds_of_running_trials(tmp_path):
    searcher = make_searcher(tmp_path, with_seeds(make_spec(space=SEEDS, cap=6), 2))
    points = [ask(searcher) for _ in range(3)]
    assert searcher.suggest("x") is None  # three trials are left, for three further seeds
    searcher.on_trial_complete("00001", {"kimg": 1.0, "outcome": "diverged"})
    new = ask(searcher)  # the third trial that is left is free again
    assert without_seed(new) not in map(without_seed, points)
    assert searcher.suggest("x") is None
    finish(searcher, 0, 1.0)
    assert ask(searcher) == {**points[0], "train.seed": 8}
    finish(searcher, 2, 1.0)
    assert ask(searcher) == {**points[2], "train.seed": 8}
    assert ask(searcher) is None


@pytest.mark.parametrize("method", ["grid", "random", "bayes"])
def test_every_point_of_a_finite_space_with_every_seed(tmp_path, method):
    spec = with_seeds(make_spec(method, FINITE), 2, run_cap=100)
    searcher = make_searcher(tmp_path, spec)
    points, running = [], []
    while (suggestion := searcher.suggest("x")) != "FINISHED":
        if suggestion is not None:
            points.append(suggestion["point"])
            running.append(suggestion["number"])
        if suggestion is None or len(running) == 3:  # all points are tried: the trials must end
            number = running.pop(0)
            finish(searcher, number, points[number]["model.ngf"])
    assert sorted(map(str, points)) == sorted(
        str({**point, "train.seed": seed}) for point in grid(spec.space) for seed in (7, 8)
    )


def test_a_search_without_further_valid_points_waits_for_further_seeds(tmp_path):
    def configure(spec, point):
        if point["train.batch_size"] != 8:
            raise UserError("batch_size must be 8")
        return run_config(spec, point)

    spec = with_seeds(make_spec(space="\n  train.batch_size: {min: 2, max: 256}"), 2)
    searcher = make_searcher(tmp_path, spec, configure=configure)
    first = ask(searcher)
    assert [searcher.suggest("x") for _ in range(2)] == [None, None]
    rejected = len(searcher.study.trials)
    assert searcher.suggest("x") is None
    assert len(searcher.study.trials) == rejected  # no further point is tried while it waits
    finish(searcher, 0, 1.0)
    assert ask(searcher) == {**first, "train.seed": 8}
    finish(searcher, 1, 1.0)
    assert ask(searcher) is None


def test_repeats_do_not_use_up_sobol_points(tmp_path):
    def configurations(seeds: int) -> list[dict[str, Any]]:
        (tmp_path / str(seeds)).mkdir()
        spec = replace(make_spec("random", SEEDS), sampler="qmc")
        searcher = make_searcher(tmp_path / str(seeds), with_seeds(spec, seeds))
        points = []
        for number in range(8 * seeds):
            points.append(without_seed(ask(searcher)))
            finish(searcher, number, 1.0)
        return points[::seeds]

    assert configurations(1) == configurations(2)


@pytest.mark.parametrize("sampler", ["tpe", "curves"])
def test_restore_keeps_the_configurations_that_wait_for_a_seed(tmp_path, sampler):
    spec = with_seeds(replace(make_spec(space=SEEDS), sampler=sampler), 2)
    searcher = make_searcher(tmp_path, spec)
    points = [ask(searcher) for _ in range(3)]
    finish(searcher, 2, 1.0)
    searcher.save(str(tmp_path / "saved"))

    def go_on(searcher: StudySearcher) -> list[dict[str, Any] | None]:
        suggestions = [ask(searcher)]
        finish(searcher, 0, 2.0)
        suggestions.append(ask(searcher))
        finish(searcher, 1, 2.0)
        return [*suggestions, *(ask(searcher) for _ in range(3))]

    expected = go_on(searcher)
    assert expected[:3] == [{**points[n], "train.seed": 8} for n in (2, 0, 1)]
    restored = make_searcher(tmp_path, spec)
    restored.restore(str(tmp_path / "saved"))
    assert go_on(restored) == expected


def test_more_seeds_after_a_restart(tmp_path):
    spec = replace(make_spec(space=SEEDS), base={**make_spec().base, "train.seed": 7})
    searcher = make_searcher(tmp_path, spec)
    first = ask(searcher)
    finish(searcher, 0, 1.0)
    searcher.save(str(tmp_path / "saved"))
    restored = make_searcher(tmp_path, with_seeds(spec, 2))
    restored.restore(str(tmp_path / "saved"))
    assert ask(restored) == {**first, "train.seed": 8}


def test_a_failed_trial_that_continues_is_learnt_from(tmp_path):
    """`--resume` tries failed trials again."""
    spec = make_spec(seeds=2)
    searcher = make_searcher(tmp_path, replace(spec, seeds=2))
    first = ask(searcher)
    searcher.on_trial_result("00000", {"kimg": 2.0, METRIC: 7.0})
    searcher.on_trial_complete("00000", error=True)
    searcher.save(str(tmp_path / "state"))
    resumed = make_searcher(tmp_path, replace(spec, seeds=2))
    resumed.restore(str(tmp_path / "state"))
    resumed.on_trial_result("00000", {"kimg": 2.0, METRIC: 7.0})
    finish(resumed, 0, 6.0)
    failed, trial = resumed.study.trials
    assert (failed.state, trial.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert trial.params == failed.params and trial.value == 6.0
    assert ask(resumed) == {**first, "train.seed": 1}  # its next seed
    finish(resumed, 0, 5.0)  # a late report of a trial that has ended changes nothing
    assert resumed.study.trials[1].value == 6.0
    assert point_count(resumed.study) == 1  # one point, with two seeds


def test_a_search_whose_file_has_another_name_keeps_its_study(tmp_path):
    searcher = make_searcher(tmp_path, make_spec())
    ask(searcher)
    finish(searcher, 0, 6.0)
    searcher.save(str(tmp_path / "state"))
    renamed = make_searcher(tmp_path, replace(make_spec(), name="another"))
    renamed.restore(str(tmp_path / "state"))
    assert [trial.value for trial in renamed.study.trials] == [6.0]
