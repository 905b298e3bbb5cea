"""Axes, fronts and lines: where things stand in a chart."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import report_runs
from hypothesis import given
from hypothesis import strategies as st

from fastgan_ray.report.charts import charts
from fastgan_ray.report.charts.axis import fit
from fastgan_ray.report.charts.parallel_coordinates import UNSET, parallel
from fastgan_ray.report.charts.slices import ENOUGH, note, shortened, slices
from fastgan_ray.report.data.ranking import ranked
from fastgan_ray.report.data.run_folder import read_run

NUMBERS = st.lists(
    st.floats(-1e9, 1e9).map(lambda value: float(f"{value:.6g}")), min_size=1, max_size=9
)


@given(NUMBERS, st.booleans())
def test_every_value_has_its_place_and_ticks_are_few_and_in_order(values, falling):
    start, end = (300.0, 10.0) if falling else (10.0, 300.0)
    axis = fit(values, start, end)
    places = [axis.at(value) for value in sorted(values)]
    assert places == sorted(places, reverse=falling)
    assert all(10 <= place <= 300 for place in places)
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= 9
    at = [tick["at"] for tick in ticks]
    assert at == sorted(at, reverse=falling)


def test_ticks_are_round():
    assert [tick["text"] for tick in fit([0.0, 9.7], 0, 1).ticks()] == [
        "0",
        "2.5",
        "5",
        "7.5",
        "10",
    ]
    axis = fit([0.0002, 0.02], 0, 1)
    assert axis.log
    assert {"0.001", "0.01"} <= {tick["text"] for tick in axis.ticks(9)}


def test_a_single_value_stands_in_the_middle():
    assert fit([7.0], 0, 100).at(7.0) == pytest.approx(50)
    assert fit([0.0], 0, 100).at(0.0) == pytest.approx(50)
    assert fit([3.0], 0, 100, log=True).at(3.0) == pytest.approx(50)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return read_run(report_runs.write_search(tmp_path_factory.mktemp("runs") / "x"))


def test_curves_of_all_trials_are_drawn_the_best_last(run):
    chart = charts.learning(run, report_runs.METRIC)
    assert len(chart["series"]) == 20
    assert chart["series"][-1]["id"] == ranked(run)[0]["trial_id"]
    assert {one["state"] for one in chart["series"]} >= {"stopped", "diverged"}
    assert all(one["bad"] == (one["state"] == "diverged") for one in chart["series"])
    assert charts.learning(run, "another") is None
    numbers = sorted(one["number_y"] for one in chart["series"] if one["number"])
    assert len(numbers) == 6 and numbers[-1] <= charts.BOTTOM
    assert all(b - a >= charts.NUMBER_HEIGHT for a, b in itertools.pairwise(numbers))
    json.dumps(chart, allow_nan=False)


def test_sizes_that_are_all_alike_are_no_trade(run):
    chart = charts.trade(run, "params_g")
    assert chart["front"].startswith("M") and len(chart["series"]) == 17
    best = {one["id"] for one in chart["series"] if one["best"]}
    assert "00000" in best and chart["front"].count("L") == len(best) - 1
    assert all(one["state"] == "finished" for one in chart["series"] if one["best"])
    for one, other in itertools.combinations([o for o in chart["series"] if o["number"]], 2):
        apart = abs(one["x"] - other["x"]) >= charts.NUMBER_WIDTH
        assert apart or abs(one["number_y"] - other["number_y"]) >= charts.NUMBER_HEIGHT
    alike = {**run, "trials": [trial | {"rows": [{"params_g": 9}]} for trial in run["trials"]]}
    assert charts.trade(alike, "params_g") is None
    assert charts.trade({**run, "trials": []}, "params_g") is None


def test_parallel_coordinates_have_an_axis_for_what_differs(run):
    chart = parallel(run)
    names = [axis["name"] for axis in chart["axes"]]
    assert names == [
        "model.ngf",
        "train.lr_g",
        "augment.policy",
        "train.r1_gamma",
        report_runs.METRIC,
    ]
    by_name = dict(zip(names, chart["axes"], strict=True))
    assert [tick["text"] for tick in by_name["model.ngf"]["ticks"]] == ["4", "8", "16", "32"]
    assert by_name["train.r1_gamma"]["ticks"][-1]["text"] == UNSET
    assert '""' in [tick["text"] for tick in by_name["augment.policy"]["ticks"]]
    assert all(len(axis["ys"]) == len(chart["series"]) for axis in chart["axes"])
    assert all(math.isfinite(y) for axis in chart["axes"] for y in axis["ys"])
    same = [trial | {"point": {"a": 1}} for trial in run["trials"]]
    assert parallel({**run, "trials": same}) is None


def test_a_slice_has_every_trial_that_has_the_parameter_and_a_value(run):
    found = {one["name"]: one for one in slices(run)}
    assert list(found) == ["model.ngf", "train.lr_g", "augment.policy", "train.r1_gamma"]
    chart = found["train.r1_gamma"]["chart"]
    valued = [trial for trial in ranked(run) if trial["value"] is not None]
    own = [trial for trial in valued if "train.r1_gamma" in trial["point"]]
    assert [one["id"] for one in chart["series"][::-1]] == [trial["trial_id"] for trial in own]
    assert 0 < len(own) < len(valued)
    left_out = f"{len(valued) - len(own)} without this parameter"
    assert left_out in found["train.r1_gamma"]["note"]
    order = sorted(chart["series"], key=lambda one: one["x"])
    by_id = {trial["trial_id"]: trial["point"]["train.r1_gamma"] for trial in own}
    values = [by_id[one["id"]] for one in order]
    assert values == sorted(values)
    json.dumps(list(found.values()), allow_nan=False)


def test_a_slice_says_when_it_rests_on_too_few(run):
    def ended(state, count):
        return [{"state": state}] * count

    assert note(ended("finished", ENOUGH), 0) == f"{ENOUGH} trials: {ENOUGH} finished."
    few = note(ended("finished", ENOUGH - 1) + ended("stopped", 4), 2)
    assert few.startswith(f"{ENOUGH + 3} trials: {ENOUGH - 1} finished, 4 not. 2 without")
    assert f"Too few to go by: {ENOUGH} finished ones are needed" in few
    same = [trial | {"point": {"a": 1}} for trial in run["trials"]]
    assert slices({**run, "trials": same}) == []


def test_categories_have_bands_and_their_trials_lie_abreast(run):
    chart = {one["name"]: one["chart"] for one in slices(run)}["augment.policy"]
    ticks = [tick["at"] for tick in chart["x"]["ticks"]]
    assert len(ticks) == 3 and [tick["line"] for tick in chart["x"]["ticks"]] == [0, 1, 0]
    middle = [(a + b) / 2 for a, b in itertools.pairwise(ticks)]
    bands: dict[int, list[float]] = {}
    for one in chart["series"]:
        assert chart["left"] <= one["x"] <= chart["right"]
        bands.setdefault(sum(one["x"] > edge for edge in middle), []).append(one["x"])
    assert all(len(set(own)) == len(own) for own in bands.values())
    for band, own in bands.items():
        assert (min(own) + max(own)) / 2 == pytest.approx(ticks[band], abs=0.1)


@pytest.mark.parametrize(("letters", "expected"), [(9, "abcdefghi"), (5, "ab…hi"), (2, "a…")])
def test_a_name_that_is_too_long_keeps_its_ends(letters, expected):
    assert shortened("abcdefghi", letters) == expected
