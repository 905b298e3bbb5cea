"""Axes, fronts and lines: where charts place what they show."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import report_runs
from hypothesis import example, given
from hypothesis import strategies as st

from fastgan_ray.report.charts import size_tradeoff
from fastgan_ray.report.charts.axis import fit, value_ticks
from fastgan_ray.report.charts.curve_files import DASHES, STYLES
from fastgan_ray.report.charts.layout import BOTTOM, LABEL_HEIGHT
from fastgan_ray.report.charts.learning_curves import arm_curves_chart, trial_curves_chart
from fastgan_ray.report.charts.parallel_coordinates import UNSET, parallel_coordinates_chart
from fastgan_ray.report.charts.size_tradeoff import size_tradeoff_chart
from fastgan_ray.report.charts.slices import ENOUGH, note, shortened, slices
from fastgan_ray.report.data.ranking import arm_colours, arm_dash, by_data, ranked
from fastgan_ray.report.data.run_folder import read_run
from fastgan_ray.report.page.sections import galleries
from fastgan_ray.report.tables.leaderboard import leaderboard

METRIC = report_runs.METRIC
NUMBERS = st.lists(
    st.floats(-1e9, 1e9).map(lambda value: float(f"{value:.6g}")), min_size=1, max_size=9
)


@given(NUMBERS, st.booleans())
@example([1.0, 2.22507e-309], False)  # their ratio overflows
def test_values_keep_their_order_and_ticks_are_few_and_in_order(values, falling):
    start, end = (300.0, 10.0) if falling else (10.0, 300.0)
    axis = fit(values, start, end)
    coordinates = [axis.at(value) for value in sorted(values)]
    assert coordinates == sorted(coordinates, reverse=falling)
    assert all(10 <= coordinate <= 300 for coordinate in coordinates)
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= 9
    at = [tick["at"] for tick in ticks]
    assert at == sorted(at, reverse=falling)


def test_texts_of_near_values_do_not_overlap():
    values = [0.0002, 0.000801, 0.000885, 0.00184]
    axis = fit(values, 180, 0)
    assert [tick["text"] for tick in value_ticks(axis, values)] == ["0.0002", "0.000801", "0.00184"]
    assert len(value_ticks(axis, [4, 8, 16, 32])) == 1, "all are at the end of this axis"


def test_ticks_are_round():
    texts = [tick["text"] for tick in fit([0.0, 9.7], 0, 1).ticks()]
    assert texts == ["0", "2.5", "5", "7.5", "10"]
    axis = fit([0.0002, 0.02], 0, 1)
    assert axis.log
    assert {"0.001", "0.01"} <= {tick["text"] for tick in axis.ticks(9)}


def test_a_single_value_is_in_the_middle():
    assert fit([7.0], 0, 100).at(7.0) == pytest.approx(50)
    assert fit([0.0], 0, 100).at(0.0) == pytest.approx(50)
    assert fit([3.0], 0, 100, log=True).at(3.0) == pytest.approx(50)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return read_run(report_runs.write_search(tmp_path_factory.mktemp("runs") / "x"))


def test_curves_of_all_trials_are_drawn_the_best_last(run):
    chart = trial_curves_chart(run, report_runs.METRIC)
    assert len(chart["series"]) == 20
    assert chart["series"][-1]["id"] == ranked(run)[0]["trial_id"]
    assert {mark["state"] for mark in chart["series"]} >= {"stopped", "diverged"}
    assert all(mark["failed"] == (mark["state"] == "diverged") for mark in chart["series"])
    assert trial_curves_chart(run, "another") is None
    labels = sorted(mark["label_y"] for mark in chart["series"] if mark["label"])
    assert len(labels) == 6 and labels[-1] <= BOTTOM
    assert all(b - a >= LABEL_HEIGHT for a, b in itertools.pairwise(labels))
    json.dumps(chart, allow_nan=False)


def test_an_arms_curve_is_dotted_from_where_seeds_drop_out():
    def point(kimg, seeds):
        return {"kimg": kimg, "seeds": seeds, "mean": 3.0, "low": 2.0, "high": 4.0}

    curves = {"a": [point(1.0, 3), point(2.0, 3)], "b": [point(1.0, 3), point(2.0, 2)], "c": []}
    chart = arm_curves_chart(curves, {"a": "base", "b": "c1", "c": "c2"}, "fid")
    whole, partial = chart["series"]
    assert (whole["id"], whole["label"], partial["id"], partial["label"]) == ("a", "1", "b", "2")
    assert whole["partial"] == "" and whole["path"].count("L") == 1
    assert partial["partial"].count("L") == 1 and partial["path"].count("L") == 0
    assert arm_curves_chart({"a": []}, {"a": "base"}, "fid") is None


def test_arms_of_one_colour_have_other_dashes_in_the_page_and_in_the_files():
    names = [*"abcdefg", "baseline", *"hijklmn"]
    account = {"baseline": "baseline", "arms": [{"name": name} for name in names]}
    colours = arm_colours(account)
    assert set(colours.values()) == set(STYLES)
    assert len({(colours[name], arm_dash(colours, name)) for name in names}) == len(names)
    assert max(arm_dash(colours, name) for name in names) < len(DASHES)


def test_generators_of_one_size_have_no_tradeoff(run):
    chart = size_tradeoff_chart(run, "params_g")
    assert chart["front"].startswith("M") and len(chart["series"]) == 17
    best = [mark for mark in chart["series"] if mark["best"]]
    assert "00000" in {mark["id"] for mark in best}
    assert chart["front"].count("L") == len(best) - 1
    assert all(mark["state"] == "finished" for mark in best)
    labelled = [mark for mark in chart["series"] if mark["label"]]
    for mark, other in itertools.combinations(labelled, 2):
        apart = abs(mark["x"] - other["x"]) >= size_tradeoff.LABEL_WIDTH
        assert apart or abs(mark["label_y"] - other["label_y"]) >= LABEL_HEIGHT
    alike = {**run, "trials": [trial | {"rows": [{"params_g": 9}]} for trial in run["trials"]]}
    assert size_tradeoff_chart(alike, "params_g") is None
    assert size_tradeoff_chart({**run, "trials": []}, "params_g") is None


def test_parallel_coordinates_have_an_axis_for_what_differs(run):
    chart = parallel_coordinates_chart(run)
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
    assert parallel_coordinates_chart({**run, "trials": same}) is None


def test_a_slice_has_every_trial_that_has_the_parameter_and_a_value(run):
    by_name = {item["name"]: item for item in slices(run)}
    assert list(by_name) == ["model.ngf", "train.lr_g", "augment.policy", "train.r1_gamma"]
    series = by_name["train.r1_gamma"]["chart"]["series"]
    valued = [trial for trial in ranked(run) if trial["value"] is not None]
    trials = [trial for trial in valued if "train.r1_gamma" in trial["point"]]
    assert [mark["id"] for mark in series[::-1]] == [trial["trial_id"] for trial in trials]
    assert 0 < len(trials) < len(valued)
    without = f"Not shown: {len(valued) - len(trials)} trials without this parameter"
    assert without in by_name["train.r1_gamma"]["note"]
    gamma = {trial["trial_id"]: trial["point"]["train.r1_gamma"] for trial in trials}
    values = [gamma[mark["id"]] for mark in sorted(series, key=lambda mark: mark["x"])]
    assert values == sorted(values)
    json.dumps(list(by_name.values()), allow_nan=False)


def test_a_slice_says_when_it_has_too_few_trials(run):
    def ended(state, count):
        return [{"state": state}] * count

    assert note(ended("finished", ENOUGH), 0) == f"{ENOUGH} trials: {ENOUGH} finished."
    few = note(ended("finished", ENOUGH - 1) + ended("stopped", 4), 2)
    assert few.startswith(f"{ENOUGH + 3} trials: {ENOUGH - 1} finished, 4 not finished. Not shown")
    assert "2 trials without" in few and f"at least {ENOUGH} finished trials are needed" in few
    same = [trial | {"point": {"a": 1}} for trial in run["trials"]]
    assert slices({**run, "trials": same}) == []


def test_categories_have_bands_with_their_trials_side_by_side(run):
    chart = {item["name"]: item["chart"] for item in slices(run)}["augment.policy"]
    ticks = [tick["at"] for tick in chart["x"]["ticks"]]
    assert len(ticks) == 3 and [tick["line"] for tick in chart["x"]["ticks"]] == [0, 1, 0]
    edges = [(a + b) / 2 for a, b in itertools.pairwise(ticks)]
    bands: dict[int, list[float]] = {}
    for mark in chart["series"]:
        assert chart["left"] <= mark["x"] <= chart["right"]
        bands.setdefault(sum(mark["x"] > edge for edge in edges), []).append(mark["x"])
    for band, xs in bands.items():
        assert len(set(xs)) == len(xs)
        assert (min(xs) + max(xs)) / 2 == pytest.approx(ticks[band], abs=0.1)


@pytest.mark.parametrize(("letters", "expected"), [(9, "abcdefghi"), (5, "ab…hi"), (2, "a…")])
def test_a_name_that_is_too_long_keeps_its_ends(letters, expected):
    assert shortened("abcdefghi", letters) == expected


def test_trials_with_cheap_evaluations_only_are_in_no_chart_of_the_metric(tmp_path):
    """`eval.early_fakes`: their values must not be compared with full ones."""
    folder = report_runs.write_search(tmp_path / "run", 12)
    rows = folder / "trials" / "00001" / "metrics.jsonl"  # a stopped trial
    rows.write_text(rows.read_text().replace(f'"{METRIC}', f'"early/{METRIC}'))
    run = read_run(folder)
    early = [trial["trial_id"] for trial in run["trials"] if trial["is_early"]]
    assert early == ["00001"]
    for chart in (
        parallel_coordinates_chart(run),
        size_tradeoff_chart(run, "params_g"),
        *(part["chart"] for part in slices(run)),
    ):
        assert "00001" not in {mark["id"] for mark in chart["series"]}
    cells = [cell["text"] for row in leaderboard(run)["rows"] for cell in row["cells"]]
    assert sum(text.endswith("(early)") for text in cells) == 1


def test_generators_of_different_sets_are_not_compared(tmp_path):
    run = read_run(report_runs.write_ablation(tmp_path / "run"))
    parts = by_data(run)
    assert list(parts) == ["cats", "dogs"]
    assert sum(len(part["trials"]) for part in parts.values()) == len(run["trials"])
    search = read_run(report_runs.write_search(tmp_path / "search", 3))
    assert by_data(search) == {"": search}


def test_the_value_of_a_best_checkpoint_has_its_own_error_and_grid(tmp_path):
    folder = report_runs.write_search(tmp_path / "run", 1)
    rows = folder / "trials" / "00000" / "metrics.jsonl"
    *before, last = (json.loads(line) for line in rows.read_text().splitlines())
    last |= {f"best/{METRIC}": 20.0, f"best/{METRIC}_se_fakes": 0.5, "best/kimg": 2.0}
    rows.write_text("".join(json.dumps(row) + "\n" for row in [*before, last]))
    summary = json.loads((folder / "summary.json").read_text())
    summary["trials"][0] |= {"value": 20.0, "error": None}  # as in an ablation
    (folder / "summary.json").write_text(json.dumps(summary))
    run = read_run(folder)
    (trial,) = run["trials"]
    assert (trial["error"], trial["value_kimg"]) == (0.5, 2.0)
    assert "those at 2 kimg" in galleries(run)["grids"][0]["about"]
