"""A search's confirmation: what it trains, its verdict, and that it runs and resumes."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import tune_objectives as objectives

from fastgan_ray.errors import InterruptedRunError, UserError
from fastgan_ray.metrics.names import MOMENTS
from fastgan_ray.report.data.ablation import summarise
from fastgan_ray.report.tables import confirmation as tables
from fastgan_ray.search.ablation import arm_config, cells
from fastgan_ray.search.confirmation import (
    best_left_out,
    confirmation_rules,
    confirmation_spec,
    ended_values,
    fit_to_budget,
    new_seeds,
    plan_confirmation,
    ranked,
    top_candidates,
)
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import DEFAULT, SearchSpec, start_point
from fastgan_ray.search.verdict import outcome
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.compat import FINISHED
from fastgan_ray.tune.ray.session import connected
from fastgan_ray.tune.rounds.folder import FOLDER, used_by
from fastgan_ray.tune.rounds.trainings import RoundSearcher, order_of
from fastgan_ray.tune.search import confirm_run, run_search

METRIC = objectives.METRIC


FEW = "{values: [16, 32, 64]}"
MANY = "{min: 1, max: 200}"


def make_spec(
    cap: int = 40, extra: str = "", early: str = "", method: str = "random", ngf: str = FEW
):
    return spec_from_text(
        f"""
name: t
method: {method}
metric: {{name: {METRIC}}}
run_cap: {cap}
{early}
{extra}
base:
  data: {{path: pictures}}
  model: {{resolution: 32, ndf: 4}}
  eval: {{extractor: efficientnet_lite0, every_kimg: 1}}
  train: {{total_kimg: 2, seed: 2}}
parameters:
  model.ngf: {ngf}
""",
        "t.yaml",
    )


# --- what it trains ---


@pytest.mark.parametrize(
    ("cap", "extra", "sizes", "why"),
    [
        (18, "", (2, 3), "at most half of the 36 thousand images"),
        (17, "", (1, 3), "at most half of the 34 thousand images"),
        (11, "", (1, 2), "at most half of the 22 thousand images"),
        (7, "", (0, 0), "takes 8 thousand images, more than half of the 14"),
        (7, "confirm: {top: 3, seeds: 5}", (3, 5), "set by `confirm` in the file"),
        (7, "confirm: {top: 1}", (1, 3), "set by `confirm` in the file"),
        (99, "confirm: false", (0, 0), "the file says"),
        (99, "budget: {kimg: 54}", (2, 3), "at most half of the 36 thousand images"),
        (99, "budget: {kimg: 53}", (1, 3), "at most half of the 41 thousand images"),
        (99, "budget: {kimg: 9}", (0, 0), "more than half of the 1 "),
    ],
)
def test_as_much_as_the_search_allows(cap, extra, sizes, why):
    plan = plan_confirmation(make_spec(cap, extra, ngf=MANY))
    assert (plan.top, plan.seeds) == sizes
    assert plan.kimg == ((sizes[0] + 1) * sizes[1] * 2 if sizes[0] else 0)
    assert why in plan.why


def test_early_stopping_leaves_less_to_confirm_with():
    early = "early_terminate: {type: hyperband, min_iter: 0.5, eta: 3}"  # 1.17 of 2 kimg a trial
    assert plan_confirmation(make_spec(18, early=early, ngf=MANY)).seeds == 2


def test_a_small_space_has_no_more_trials_than_points():
    """Four points are no 40 trials: six more trainings would be more than the search itself."""
    plan = plan_confirmation(make_spec(40))
    assert plan.top == 0 and "expected in the search" in plan.why


def test_a_budgets_rest_takes_one_arm_after_another():
    spec = make_spec(100, "confirm: {top: 5, seeds: 3}")
    plan = plan_confirmation(spec)
    assert (plan.top, plan.seeds, plan.kimg) == (5, 3, 36)
    fitted = fit_to_budget(spec, plan, 30)
    assert (fitted.top, fitted.seeds, fitted.kimg) == (4, 3, 30)


def test_a_budgets_rest_takes_arms_then_seeds():
    spec = make_spec(ngf=MANY)
    plan = plan_confirmation(spec)
    sizes_of = {18: (2, 3), 17: (1, 3), 11: (1, 2), 7: (0, 0)}
    for kimg, sizes in sizes_of.items():
        fitted = fit_to_budget(spec, plan, kimg)
        assert (fitted.top, fitted.seeds) == sizes
        assert fitted is plan or f"{kimg}" in fitted.why


@pytest.mark.parametrize(
    ("extra", "rule"),
    [
        ("confirm: 3", "t.yaml:7: confirm: must be false or a mapping"),
        ("confirm: true", "must be false or a mapping"),
        ("confirm: {tpo: 1}", "confirm.tpo: is not a known key; did you mean top?"),
        ("confirm: {top: 0}", "confirm.top: must be at least 1 (got 0)"),
        ("confirm: {seeds: 1}", "confirm.seeds: must be at least 2 (got 1)"),
        ("budget: 3", "t.yaml:7: budget: must be a mapping, such as {key: value} (got 3)"),
        ("budget: {}", "budget: needs at least one of kimg, hours, gpu_hours"),
        ("budget: {days: 1}", "budget.days: is not a known key; the keys are kimg, hours"),
        ("budget: {hours: 0}", "budget.hours: must be greater than 0 (got 0)"),
        ("budget: {kimg: 1}", "budget.kimg: must be enough for a trial of 2 kimg (got 1)"),
        (
            "budget: {kimg: 9}\nconfirm: {top: 1, seeds: 2}",
            "must be enough for a trial of 2 kimg and 8 kimg for the confirmation (got 9)",
        ),
    ],
)
def test_keys_that_are_refused(extra, rule):
    with pytest.raises(UserError) as caught:
        make_spec(extra=extra)
    assert rule in str(caught.value)


def make_trial(number: int, value: float | None, ngf: int, state: str = "finished"):
    point = {"model.ngf": ngf}
    return {"trial_id": f"{number:05d}", "state": state, "value": value, "point": point}


def summary_of(*trials):
    valued = [trial for trial in trials if trial["value"] is not None]
    best = min(valued, key=lambda trial: trial["value"], default=None)
    default = next((trial for trial in trials if trial["point"]["model.ngf"] == 64), None)
    return {"name": "t", "trials": list(trials), "best": best, "default": default}


def test_a_configuration_with_several_seeds_counts_with_its_mean():
    spec = make_spec(12, "seeds: 2")
    trials = [
        make_trial(0, 9.0, 64),
        make_trial(1, 1.0, 32),  # a lucky seed
        make_trial(2, 7.0, 32),
        make_trial(3, 3.0, 16),
        make_trial(4, 3.5, 16),
    ]
    for trial, seed in zip(trials, (2, 2, 3, 2, 3), strict=True):
        trial["point"]["train.seed"] = seed
    summary = summary_of(*trials)
    names = [trial["trial_id"] for trial in ranked(spec, summary)]
    assert names == ["00003", "00004", "00001", "00002", "00000"]
    assert [trial["trial_id"] for trial in top_candidates(spec, summary, 9)] == ["00003", "00001"]
    assert new_seeds(spec, summary, 3) == [1, 4, 5]
    # A search that has continued may have used seeds of the confirmation.
    assert new_seeds(spec, summary, 3, started=[1, 2, 4]) == [1, 4, 5]
    confirmation = confirmation_spec(spec, summary, 1, [1, 4], None)
    assert confirmation is not None
    assert all("train.seed" not in settings for settings in confirmation.arms.values())


def test_contenders_are_the_best_and_no_doubles():
    spec = make_spec()
    assert start_point(spec) == {"model.ngf": 64}
    summary = summary_of(
        make_trial(0, 5.0, 64),
        make_trial(1, 4.0, 32),
        make_trial(2, 3.0, 64),  # the default again
        make_trial(3, 4.5, 32),  # trial 1 again
        make_trial(4, 1.0, 16, "stopped"),
        make_trial(5, None, 16, "diverged"),
        make_trial(6, 9.0, 16),
    )
    assert [trial["trial_id"] for trial in top_candidates(spec, summary, 9)] == ["00001", "00006"]
    assert [trial["trial_id"] for trial in top_candidates(spec, summary, 1)] == ["00001"]
    stopped = summary_of(make_trial(0, 5.0, 64, "stopped"), make_trial(1, 4.0, 32, "stopped"))
    assert [trial["trial_id"] for trial in top_candidates(spec, stopped, 9)] == ["00001"]
    assert confirmation_spec(spec, summary_of(make_trial(0, 5.0, 64)), 2, [1, 3, 4], None) is None


def test_the_trial_with_the_best_value_is_named_if_it_is_not_trained_again():
    spec, arms = make_spec(), [DEFAULT, "trial 00001"]
    trials = [make_trial(0, 5.0, 64), make_trial(1, 4.0, 32), make_trial(2, 3.0, 16)]

    def left_out(best: int, trials=trials):
        found = {"trial_id": trials[best]["trial_id"]}
        return best_left_out(spec, {**summary_of(*trials), "best": found}, arms)

    assert [left_out(best) for best in range(3)] == ["", "", "00002"]
    again = [*trials[:2], make_trial(2, 3.0, 32)]  # trial 1 with another seed
    assert left_out(2, again) == ""
    assert best_left_out(spec, {**summary_of(*trials), "best": None}, arms) == ""


def test_it_is_an_ablation_with_fresh_seeds():
    spec = make_spec()
    summary = summary_of(make_trial(0, 5.0, 64), make_trial(1, 4.0, 32), make_trial(2, 4.5, 16))
    seeds = new_seeds(spec, summary, 3)
    ablation = confirmation_spec(spec, summary, 2, seeds, "/there/pictures")
    assert list(ablation.arms) == [DEFAULT, "trial 00001", "trial 00002"]
    assert ablation.baseline == DEFAULT and ablation.metric.name == METRIC
    assert ablation.seeds == (1, 3, 4)  # the search trained with 2
    assert ablation.data == ("/there/pictures",)
    config = arm_config(ablation, "trial 00002")
    assert (config.model.ngf, config.train.total_kimg, config.eval.every_kimg) == (16, 2, 1)
    # Where the space lacks the default, it is what the search has tried for it.
    nearest = {**summary, "default": summary["trials"][1]}
    lacking = confirmation_spec(spec, nearest, 2, seeds, "/there/pictures")
    assert lacking.arms[DEFAULT] == {"model.ngf": 32}
    assert "trial 00001" not in lacking.arms and "trial 00000" in lacking.arms
    assert new_seeds(spec, summary, 5, seeds) == [1, 3, 4, 5, 6]  # the same cells, and new ones
    assert new_seeds(spec, summary, 3, [7, 8]) == [7, 8, 1]
    assert new_seeds(spec, summary, 2, [7, 8, 9]) == [7, 8, 9]


# --- its verdict ---


def confirmed(spec: SearchSpec, summary, top: int = 2, looks=(3,), **values: list[float | None]):
    """The outcome where default (d) and trials (t1, ...) measured those values; None failed."""
    ablation = confirmation_spec(spec, summary, top, new_seeds(spec, summary, 3), "pictures")
    of_arm = {DEFAULT: values["d"], **{f"trial 0000{key[-1]}": values[key] for key in values}}
    trials = []
    for number, cell in enumerate(cells(ablation)):
        listed = of_arm[cell.arm]
        index = ablation.seeds.index(cell.seed)
        value = listed[index] if index < len(listed) else None
        state = "unfinished" if index >= len(listed) else "finished" if value else "diverged"
        trials.append(
            {
                "trial_id": f"{number:05d}",
                "arm": cell.arm,
                "data": "pictures",
                "seed": cell.seed,
                "state": state,
                "value": value,
                **dict.fromkeys(MOMENTS),
                "kimg": 2.0,
                "seconds": 1.0,
                "reason": "",
                "rows": [{"kimg": 2.0, METRIC: value}],
                "protocol": {},
            }
        )
    rules = confirmation_rules(
        METRIC, "minimize", ablation.seeds, looks, dict.fromkeys(ablation.arms, ""), 0.95
    )
    account = summarise(ablation, "confirm", trials, dict.fromkeys(ablation.arms, 1.0), rules)
    return outcome(spec, summary, account)


THREE = summary_of(make_trial(0, 30.0, 64), make_trial(1, 20.0, 32), make_trial(2, 25.0, 16))
GOOD = [31.0, 32.0, 30.0]


def test_a_winner_that_holds_up():
    confirmation = confirmed(
        make_spec(), THREE, d=GOOD, t1=[22.0, 23.2, 21.1], t2=[29.0, 33.0, 31.0]
    )
    assert (confirmation["searched"], confirmation["winner"]) == ("trial 00001", "trial 00001")
    default, first, second = confirmation["arms"]
    assert default["verdict"] == "" and default["values"] == GOOD
    assert default["mean"] == pytest.approx(31) and default["sd"] == pytest.approx(1)
    assert default["interval"] == pytest.approx([31 - 2.484, 31 + 2.484], abs=1e-3)
    assert first["verdict"] == "better" and first["change"] == pytest.approx(-28.7, abs=0.05)
    assert first["change_interval"][1] < 0 < first["p"] < 0.05
    assert second["verdict"] == "indistinguishable" and first["seeds"] == second["seeds"] == 3
    assert (first["search_value"], first["trial_id"]) == (20.0, "00001")
    assert confirmation["sentence"] == (
        f"Confirmed: trial 00001 is better than the published default in 3 seeds ({METRIC} "
        "22.1 ± 1.1 against 31 ± 1). In the search, trial 00001 had the value 20, which is 2.1 "
        "better than the confirmed mean."
    )
    rows = tables.confirmation_table(confirmation).rows
    assert rows[0][-1] == "(baseline)"
    assert rows[1][:3] == ["trial 00001", "20.0", "22.1 ± 1.1"]
    assert "1, 3, 4" in tables.explanation(confirmation)


def test_a_winner_that_does_not_hold_up():
    confirmation = confirmed(
        make_spec(), THREE, d=GOOD, t1=[29.0, 33.5, 31.0], t2=[29.0, 30.5, 31.0]
    )
    assert confirmation["winner"] == "trial 00002"
    assert confirmation["sentence"].startswith(
        "Not confirmed: trial 00001 is indistinguishable from the published default in 3 seeds"
    )
    best = "Trial 00002 has the best mean over 3 seeds: 30.17 ± 1. The folder best/ has a"
    assert best in confirmation["sentence"]
    worse = confirmed(make_spec(), THREE, d=GOOD, t1=[51.0, 52.1, 50.2], t2=[41.0, 42.2, 40.1])
    assert worse["winner"] == DEFAULT
    assert "trial 00001 is worse than the published default" in worse["sentence"]


def test_another_that_is_better_than_the_searchs_best():
    confirmation = confirmed(
        make_spec(), THREE, d=GOOD, t1=[22.0, 23.2, 21.1], t2=[12.0, 13.2, 11.1]
    )
    assert confirmation["winner"] == "trial 00002"
    assert confirmation["sentence"].startswith("Confirmed, but not the best: trial 00001 is better")


def test_a_failed_training_wins_nothing():
    confirmation = confirmed(make_spec(), THREE, 1, d=GOOD, t1=[22.0, None, 21.1])
    assert confirmation["winner"] == DEFAULT and confirmation["arms"][1]["ended_well"] == 2
    assert confirmation["sentence"].startswith(
        "Not confirmed: there is no verdict on trial 00001 (better without failed trainings, but "
        "in 1 seed, only the arm failed)."
    )
    assert "(2 of 3)" in tables.confirmation_table(confirmation).rows[1][2]
    nothing = confirmed(make_spec(), THREE, 1, d=[None] * 3, t1=[None] * 3)
    assert nothing["winner"] is None
    assert nothing["sentence"].startswith("Not confirmed: no training")


@pytest.mark.parametrize(
    ("looks", "default", "other"),
    [((3,), [None] * 3, [100.0, 101.0, 99.0]), ((1, 2, 3), [100.0], [None])],
)
def test_without_values_the_default_is_not_confirmed(looks, default, other):
    summary = summary_of(make_trial(0, 10.0, 64), make_trial(1, 20.0, 32))
    outcome = confirmed(make_spec(), summary, 1, looks, d=default, t1=other)
    assert outcome["arms"][1]["verdict"] == "no verdict"
    assert outcome["sentence"].startswith("Not confirmed: the published default was the best trial")
    assert "but there is no verdict on trial 00001 (" in outcome["sentence"]


def test_the_default_may_have_been_the_best():
    summary = summary_of(make_trial(0, 10.0, 64), make_trial(1, 20.0, 32))
    stays = confirmed(make_spec(), summary, 1, d=GOOD, t1=[41.0, 42.2, 40.1])
    assert stays["searched"] == stays["winner"] == DEFAULT
    assert stays["sentence"].startswith(
        "Confirmed: no trial is better than the published default in 3 seeds"
    )
    lost = confirmed(make_spec(), summary, 1, d=GOOD, t1=[21.0, 22.2, 20.1])
    assert lost["sentence"].startswith(
        "Not confirmed: the published default was the best trial of the search, but with 3 new "
        "seeds, trial 00001 is better."
    )


def test_half_a_confirmation_has_no_verdict():
    confirmation = confirmed(make_spec(), THREE, 1, d=GOOD[:2], t1=[22.0])
    assert confirmation["winner"] is None and confirmation["unfinished"] == 3
    assert confirmation["sentence"] == "The confirmation has not ended: 3 trainings are left."
    one_by_one = confirmed(make_spec(), THREE, 1, looks=(1, 2, 3), d=GOOD[:2], t1=[22.0])
    assert one_by_one["winner"] is None and one_by_one["unfinished"] == 1
    assert one_by_one["sentence"].endswith("has not ended: at least 1 training is left.")


def test_an_arm_that_is_dropped_says_why_everywhere():
    confirmation = confirmed(
        make_spec(), THREE, looks=(1, 2, 3), d=[31.0, 32.0], t1=[32.0], t2=[16.0, 15.0]
    )
    assert (confirmation["unfinished"], confirmation["trained"], confirmation["most"]) == (0, 5, 9)
    _, first, second = confirmation["arms"]
    assert (first["verdict"], first["seeds"], first["p"]) == ("not better", 1, None)
    assert first["sd"] is None and first["values"] == [32.0, None, None]
    assert (second["verdict"], second["seeds"]) == ("better", 2)
    why = 'dropped after 1 seed: the verdict "better" had become unlikely'
    assert first["note"] == why
    assert confirmation["sentence"] == (
        "Not confirmed: trial 00001 is not better than the published default in 1 seed "
        f"({METRIC} 32 against 31.5 ± 0.71) ({why}). Trial 00002 has the best mean over 2 seeds: "
        "15.5 ± 0.71. The folder best/ has a generator of this arm. In the search, trial "
        "00001 had the value 20, which is 12 better than the confirmed mean. The confirmation took "
        "5 of at most 9 trainings."
    )
    rows = tables.confirmation_table(confirmation).rows
    assert [row[3] for row in rows] == ["2", "1", "2"]
    assert [row[-1] for row in rows] == ["(baseline)", "not better", "better"]
    assert tables.notes(confirmation) == [f"trial 00001: {why}."]
    assert tables.explanation(confirmation).startswith(f"trial 00001: {why}. Each configuration")


def test_the_luck_of_one_seed_wins_nothing():
    """Trial 1 has the best mean of all, but of one seed; trial 2 went on and is not better."""
    confirmation = confirmed(
        make_spec(), THREE, looks=(1, 2, 3), d=[31.0, 36.0, 36.0], t1=[31.5], t2=[27.0, 36.1, 36.1]
    )
    assert confirmation["arms"][1]["verdict"] == "not better"
    assert confirmation["arms"][1]["mean"] < min(arm["mean"] for arm in confirmation["arms"][2:])
    assert confirmation["winner"] == "trial 00002"
    # Without a survivor all arms have one seed, and the best of them is handed over, as ever.
    early = confirmed(make_spec(), THREE, looks=(1, 2, 3), d=[31.0], t1=[30.5], t2=[32.0])
    assert early["winner"] == "trial 00001" and early["trained"] == 3


def test_trials_keep_their_numbers_although_some_never_run():
    spec = make_spec()
    two = cells(confirmation_spec(spec, THREE, 2, [1, 3], "pictures"))
    names = [(cell.arm, cell.seed) for cell in two]
    ran = [
        {"trial_id": f"{number:05d}", "arm": cell.arm, "data": "pictures", "seed": cell.seed}
        for number, cell in enumerate(two)
        if number != 4
    ]
    assert order_of(ran, two) == two
    three = cells(confirmation_spec(spec, THREE, 2, [1, 3, 4], "pictures"))
    order = order_of(ran, three)
    assert [(cell.arm, cell.seed) for cell in order][:6] == names and len(order) == 9
    assert {(cell.arm, cell.seed) for cell in order} == {(cell.arm, cell.seed) for cell in three}


def test_an_arm_that_is_no_longer_among_the_best_keeps_its_trainings():
    """A resumed search with more trials may have another best trial."""
    spec = make_spec()
    before = cells(confirmation_spec(spec, THREE, 1, [1, 3], "pictures"))
    ran = [
        {"trial_id": f"{number:05d}", "arm": cell.arm, "data": "pictures", "seed": cell.seed}
        | {"state": "finished", "value": 30.0 + number}
        for number, cell in enumerate(before[:2])
    ]
    more = summary_of(*THREE["trials"], make_trial(3, 10.0, 16))
    ablation = confirmation_spec(spec, more, 1, [1, 3], "pictures")
    order = order_of(ran, cells(ablation))
    assert [(cell.arm, cell.seed) for cell in order] == [
        *((cell.arm, cell.seed) for cell in before[:2]),
        *(("trial 00003", 1), (DEFAULT, 3), ("trial 00003", 3)),
    ]
    assert ended_values(ablation.arms, ran) == {DEFAULT: {1: 30.0}, "trial 00003": {}}
    # The number of a training that never ran stays free if nothing takes it.
    gap = [ran[0], {**ran[1], "trial_id": "00009"}]
    assert len(order_of(gap, cells(ablation))) == 10


# --- the trainings one after another ---


def searcher_of(ablation, looks, ended=None, max_concurrent=9):
    order = cells(ablation)
    rules = confirmation_rules(
        METRIC, "minimize", ablation.seeds, looks, dict.fromkeys(ablation.arms, ""), 0.95
    )
    return RoundSearcher(ablation, order, rules, ended or {}, max_concurrent)


def suggested(searcher):
    numbers = []
    while isinstance(suggestion := searcher.suggest("x"), dict):
        numbers.append(suggestion["number"])
    return numbers, suggestion


def complete(searcher, number, value, outcome="finished"):
    searcher.on_trial_complete(f"{number:05d}", {"outcome": outcome, METRIC: value})


def test_a_searcher_that_trains_round_by_round(tmp_path):
    """It says the same after it has been saved and restored at any moment."""
    ablation = confirmation_spec(make_spec(), THREE, 2, [1, 3, 4], "pictures")
    looks, values = (1, 2, 3), {0: 30.0, 1: 31.0, 2: 20.0, 3: 31.0, 5: 21.0}
    searcher = searcher_of(ablation, looks)
    rounds = []
    while True:
        numbers, last = suggested(searcher)
        rounds.append(numbers)
        if last == FINISHED:
            break
        for number in numbers:
            assert suggested(searcher) == ([], None)  # the round has not ended
            searcher.save(str(tmp_path / "state"))
            searcher = searcher_of(ablation, looks)
            searcher.restore(str(tmp_path / "state"))
            complete(searcher, number, values[number])
    assert rounds == [[0, 1, 2], [3, 5], []]  # trial 1 is dropped, trial 2 is better
    narrow = searcher_of(ablation, looks, max_concurrent=2)
    assert suggested(narrow) == ([0, 1], None)
    complete(narrow, 0, 30.0)
    assert suggested(narrow) == ([2], None)


def test_a_searcher_that_goes_on_after_an_earlier_confirmation():
    ablation = confirmation_spec(make_spec(), THREE, 1, [1, 3, 4], "pictures")
    ended = {
        f"{number:05d}": {"arm": cell.arm, "seed": cell.seed, "state": "finished", "value": 30.0}
        for number, cell in enumerate(cells(ablation)[:2])
    }
    assert suggested(searcher_of(ablation, (1, 2, 3), ended)) == ([], FINISHED)
    assert suggested(searcher_of(ablation, (3,), ended)) == ([2, 3, 4, 5], None)


def test_a_training_that_fails_or_is_interrupted():
    ablation = confirmation_spec(make_spec(), THREE, 1, [1, 3], "pictures")
    searcher = searcher_of(ablation, (1, 2))
    assert suggested(searcher) == ([0, 1], None)
    complete(searcher, 0, 30.0)
    searcher.on_trial_complete("00001", None, error=True)
    assert suggested(searcher) == ([], FINISHED)  # the arm cannot become better
    interrupted = searcher_of(ablation, (1, 2))
    assert suggested(interrupted) == ([0, 1], None)
    complete(interrupted, 0, 30.0)
    complete(interrupted, 1, 3.0, outcome="running")
    assert suggested(interrupted) == ([], FINISHED)  # a resume trains it


# --- on Ray ---


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv("DRIVER", str(os.getpid()))
        with connected(None):
            yield tmp_path_factory.mktemp("runs")


def logs(folder: Path) -> dict[str, list[str]]:
    return {
        str(path.parent.relative_to(folder)): path.read_text().split("\n")[:-1]
        for path in sorted(folder.glob("**/ran.txt"))
    }


@pytest.mark.slow
def test_interrupted_resumed_and_enlarged(runs, capfd):
    """The search's best is lucky with the search's seed; the driver is interrupted meanwhile."""
    spec = make_spec(2, "confirm: {top: 1, seeds: 2}", method="grid")
    store = f"file://{runs}/there"  # trials of the search and of its confirmation share numbers
    options = TuneOptions(runs_dir=runs, wandb="off", max_concurrent=1, storage_uri=store)
    folder = runs / "t"
    with pytest.raises(InterruptedRunError):
        run_search(spec, options, objectives.lucky)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["confirmation"]["unfinished"] == 1
    assert summary["verdict"].startswith("Best: ") and summary["best"]["trial_id"] == "00001"
    assert "and --resume." in capfd.readouterr().out
    before, seconds = logs(folder), used_by(folder / FOLDER).seconds
    assert seconds > 0

    run_search(spec, replace(options, max_concurrent=None, resume=True), objectives.lucky)
    assert used_by(folder / FOLDER).seconds > seconds  # a search that continues counts this time
    summary = json.loads((folder / "summary.json").read_text())
    assert {name: logs(folder)[name] for name in ("trials/00000", "trials/00001")} == {
        name: before[name] for name in ("trials/00000", "trials/00001")
    }
    assert logs(folder)["confirm/trials/00000"] == before["confirm/trials/00000"]
    trained = [name for name in logs(folder) if name.startswith("confirm")]
    assert [len(logs(folder)[name]) for name in trained] == [3, 4]  # dropped after one seed
    confirmation = summary["confirmation"]
    assert (confirmation["trained"], confirmation["most"], confirmation["unfinished"]) == (2, 4, 0)
    assert confirmation["winner"] == DEFAULT and confirmation["searched"] == "trial 00001"
    assert summary["verdict"] == confirmation["sentence"]
    best = summary["best"]
    assert (best["trial_id"], best["source"]) == ("00000", "confirm/trials/00000")
    assert best["config"]["train"]["seed"] == 1 and best["value"] == min(
        value for value in confirmation["arms"][0]["values"] if value is not None
    )
    assert (folder / best["checkpoint"] / "metadata.json").is_file()
    assert summary["best_beats_default"] is False
    rows = "trials/00001/metrics.jsonl"
    for part in (folder, folder / "confirm"):
        there = runs / "there" / part.relative_to(runs)
        assert (there / rows).read_bytes() == (part / rows).read_bytes()
    out = capfd.readouterr().out
    assert confirmation["sentence"] in out and "in the search" in out
    assert "Confirmation</h2>" in (folder / "report.html").read_text()

    # A seed more, with which the search's best is the best after all. All seeds are trained.
    ended = logs(folder)
    with pytest.raises(
        UserError, match=r"--seeds: the search has already used 2\. .* --seeds 101-103"
    ):
        confirm_run(folder, None, [2, 4], TuneOptions(wandb="off"), objectives.lucky)
    confirm_run(folder, None, [4], TuneOptions(wandb="off"), objectives.lucky)
    enlarged = json.loads((folder / "summary.json").read_text())
    assert enlarged["confirmation"]["seeds"] == [1, 3, 4]
    assert ended.items() <= logs(folder).items() and len(logs(folder)) == len(ended) + 4
    assert enlarged["confirmation"]["winner"] == "trial 00001"
    assert enlarged["best"]["source"] == "trials/00001"
    assert enlarged["best"]["value"] == summary["confirmation"]["arms"][1]["search_value"]
    assert '"trials/00001"' in (folder / "best" / ".source").read_text()


@pytest.mark.slow
def test_interrupted_in_a_later_round(runs):
    """The resumed confirmation ends as one that was never interrupted."""
    spec = make_spec(2, "confirm: {top: 1, seeds: 4}", method="grid")
    options = TuneOptions(runs_dir=runs, wandb="off", name="rounds")
    with pytest.raises(InterruptedRunError):
        run_search(spec, options, objectives.promising)
    folder = runs / "rounds"
    interrupted = json.loads((folder / "summary.json").read_text())["confirmation"]
    assert interrupted["winner"] is None and 2 <= interrupted["trained"] <= 3
    before = logs(folder)
    run_search(spec, replace(options, resume=True), objectives.promising)
    summary = json.loads((folder / "summary.json").read_text())
    assert before.keys() <= logs(folder).keys()
    whole = run_search(spec, replace(options, name="whole"), objectives.promising_to_the_end)
    expected = json.loads((whole / "summary.json").read_text())
    assert summary["confirmation"] == expected["confirmation"]
    assert summary["confirmation"]["trained"] < summary["confirmation"]["most"] == 8
    assert summary["best_beats_default"] is True
    account = json.loads((folder / "confirm/ablation.json").read_text())
    assert account["arms"][1]["comparison"]["verdict"] == "better"
    assert len(account["trials"]) == summary["confirmation"]["trained"]
    assert {trial["state"] for trial in account["trials"]} == {"finished"}
    confirm_run(folder, None, [], TuneOptions(wandb="off"), objectives.promising_to_the_end)
    assert len(logs(folder)) == len(logs(whole)), "nothing was left to do"


def test_only_a_search_that_has_ended_is_confirmed(tmp_path):
    with pytest.raises(UserError, match="there is no search to confirm"):
        confirm_run(tmp_path, None, [], TuneOptions())
    (tmp_path / "search.yaml").write_text(make_spec().text)
    (tmp_path / "overrides.json").write_text("{}")
    with pytest.raises(UserError, match="no trial has a value"):
        confirm_run(tmp_path, None, [], TuneOptions())
    unfinished = {"trials": [{"state": "unfinished"}], "best": {}}
    (tmp_path / "summary.json").write_text(json.dumps(unfinished))
    with pytest.raises(UserError, match="1 of 1 trial has not ended"):
        confirm_run(tmp_path, None, [], TuneOptions())
