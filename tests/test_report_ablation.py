"""An ablation's results: its tables, the notes beside them, and its learning curves."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from report_runs import ABLATION, METRIC

from fastgan_ray.report import text
from fastgan_ray.report.charts import curve_files
from fastgan_ray.report.data.ablation import summarise
from fastgan_ray.report.data.learning_curves import arm_curves, curve_metric, with_all_seeds
from fastgan_ray.report.tables import ablation as tables
from fastgan_ray.report.tables.table import escaped
from fastgan_ray.search.ablation import cells, data_name
from fastgan_ray.search.file.read_ablation import ablation_from_text

ARMS = """
  good: {augment.policy: "", model.d_sle: false}
  "odd | $a_1$": {train.lr_g: 0.001}
"""
SPEC = ablation_from_text(ABLATION + ARMS, "t.yaml")
VALUES = {"plain": 40.0, "good": 20.0, "odd | $a_1$": 41.0}
GFLOP = dict.fromkeys(SPEC.arms, 1.5)


def trial(number, cell, state="finished", **more):
    value = VALUES[cell.arm] + cell.seed + 0.1 * (number % 3)
    rows = [
        {
            "kimg": kimg,
            METRIC: value + 10 / kimg,
            "images_per_second": 30.0,
            "params_g": 29_100_000,
            "params_d": 926_083,
            "precision_k5": 0.5,
            f"{METRIC}_se": 1.0,
            "loss/d": 0.3,
            "augment/p": 0.2,
            "num_fakes": 256,
            "orders": 0,
        }
        for kimg in (1.0, 2.0)
    ]
    return {
        "trial_id": f"{number:05d}",
        "arm": cell.arm,
        "data": data_name(cell.data),
        "seed": cell.seed,
        "state": state,
        "value": value if state == "finished" else None,
        "last_value": value if state == "finished" else None,
        "best_value": value - 2 if state == "finished" else None,
        "best_kimg": 1.0,
        "selected_value": value - 3,
        "kimg": 2.0,
        "seconds": 3.0,
        "reason": "why",
        "rows": rows,
        "protocol": {"reference": data_name(cell.data)},
        **more,
    }


def trials(**of_number):
    return [
        trial(number, cell, **of_number.get(f"t{number}", {}))
        for number, cell in enumerate(cells(SPEC))
    ]


def test_arms_are_compared_on_each_data_set_and_over_all():
    summary = summarise(SPEC, "t", trials(), GFLOP)
    plain, good, odd = summary["arms"]
    assert plain["comparison"] is None and plain["by_data"][0]["comparison"] is None
    assert summary["differences"] == "percent"
    assert (good["comparison"]["verdict"], good["comparison"]["pairs"]) == ("better", 2)
    assert good["comparison"]["mean"] == pytest.approx(-48.5, abs=0.1)
    on_cats = good["by_data"][0]["comparison"]
    assert (on_cats["verdict"], on_cats["pairs"]) == ("better", 3)
    assert on_cats["mean"] == pytest.approx(-48.5, abs=0.2)
    assert odd["comparison"]["verdict"] == "worse"
    assert [part["data"] for part in good["by_data"]] == ["cats", "dogs"]
    assert good["by_data"][0]["mean"] == pytest.approx(21.1)
    assert list(good["other_metrics"]) == ["precision_k5", "augment/p"]
    assert good["other_metrics"]["precision_k5"] == {"seeds": 6, "mean": 0.5, "sd": 0.0}
    assert good["peak_memory_gb"] is None
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_the_markdown_says_it_all():
    text = tables.markdown(summarise(SPEC, "t", trials(), GFLOP), "curves.svg")
    lines = text.splitlines()
    (good,) = [line for line in lines if line.startswith("| good |") and "±" in line][:1]
    assert re.search(r"\| -48\.6 % \[-48\.\d, -48\.\d\] \| \S+ \| better \|", good)
    assert "| arm | change on cats | verdict | change on dogs | verdict |" in lines
    assert any(re.match(r"\| good \| -48\.\d % \[.*\] \| better \| -48", line) for line in lines)
    assert "| 29.1 M + 926 k | 1.5 | 30.0 | 0.741 | - |" in good
    assert any(line.startswith(r"| odd \| $a_1$ |") for line in lines)
    assert '| good | augment.policy = "", model.d_sle = false |' in lines
    assert "![Learning curves: fd_efficientnet_lite0" in text and "](curves.svg)" in text
    assert "| arm | precision_k5 | augment/p |" in lines
    table_lines = [line for line in lines if line.startswith("|")]
    assert all(line.endswith("|") for line in table_lines)


def test_failures_are_reported_and_win_nothing():
    failed = trials(t1={"state": "diverged", "reason": "loss/d is not finite"})
    summary = summarise(SPEC, "t", failed, GFLOP)
    good = summary["arms"][1]
    assert good["comparison"]["verdict"] == "no verdict" and good["comparison"]["failed"] == 1
    assert good["states"] == {"diverged": 1, "finished": 5}
    notes = tables.notes(summary)
    assert any(
        note.startswith("good: no verdict: better in the pairs without a failure") for note in notes
    )
    assert "good, seed 0 on cats: diverged at 2 kimg: loss/d is not finite." in notes
    assert "(2 of 3)" in tables.markdown(summary, "x.svg")


def test_names_are_text_in_markdown():
    """A reader of ablation.md sees names as they are: no HTML, links, emphasis or more columns."""
    names = {
        "<img src=x onerror=alert(1)>": "&lt;img src=x onerror=alert(1)>",
        "</td> &lt; <0.0001": "&lt;/td> &amp;lt; <0.0001",
        "# a": r"\# a",
        "[a](http://b)": r"[a\](http://b)",
        "a*b*|`c`": r"a\*b\*\|\`c\`",
        "_a_b_": r"\_a_b\_",
        "fd_efficientnet_lite0 & -1.5 [-2, 3]": "fd_efficientnet_lite0 & -1.5 [-2, 3]",
    }
    for name, expected in names.items():
        assert escaped(name) == expected
    arms = {"<b>": {"model.ngf": 8}, "plain": {}}
    spec = replace(SPEC, arms=arms, baseline="<b>")
    new_names = {"plain": "<b>", "good": "plain"}
    renamed = [
        {**trial, "arm": new_names[trial["arm"]]} for trial in trials() if trial["arm"] in new_names
    ]
    page = tables.markdown(summarise(spec, "<i>t", renamed, dict.fromkeys(arms, 1.0)), "x.svg")
    assert "<b>" not in page and "<i>" not in page and "baseline: &lt;b>." in page


def test_what_has_not_ended_is_counted():
    running = trials(t17={"state": "unfinished", "rows": [], "kimg": 0.0, "protocol": {}})
    summary = summarise(SPEC, "t", running, GFLOP)
    assert summary["arms"][2]["comparison"]["waiting"] == 1
    assert "1 of 18 trainings has not ended." in tables.notes(summary)


def test_numbers_of_different_protocols_have_a_warning():
    mixed = trials(t5={"protocol": {"reference": "other dogs"}})
    summary = summarise(SPEC, "t", mixed, GFLOP)
    assert summarise(SPEC, "t", trials(), GFLOP)["warnings"] == []
    (warning,) = [note for note in tables.notes(summary) if note.startswith("Warning")]
    assert "trial 00005" in warning and "other dogs" in warning


def test_a_difference_smaller_than_the_evaluation_error_is_flagged():
    def notes(error):
        noisy = trials()
        for row in noisy:
            row["rows"][-1][f"{METRIC}_se_fakes"] = error
        summary = summarise(SPEC, "t", noisy, GFLOP)
        return [
            note
            for note in tables.notes(summary)
            if ": doubtful, because the evaluation error" in note
        ]

    assert notes(0.5) == []  # in percent of the values: 2.4 for "good", 1.2 for the others
    note, _ = notes(30.0)
    assert (
        note.startswith(
            "good: better: doubtful, because the evaluation error alone can cause a difference of "
        )
        and " % (with 6 pairs), and the measured difference is only 48.6 %; add seeds" in note
    )


def test_warnings_of_trainings_are_reported_by_arm():
    warned = trials()
    for number in (0, 6):
        warned[number]["rows"][-1]["warning"] = "Augmentation leaks: tilted."
    notes = tables.notes(summarise(SPEC, "t", warned, GFLOP))
    text = "2 of 6 trainings have a warning. The first warning: Augmentation leaks: tilted."
    assert f"plain: {text}" in notes


def test_the_table_on_a_terminal_has_a_row_for_each_arm():
    table = tables.on_terminal(summarise(SPEC, "t", trials(), GFLOP))
    assert table.row_count == 3
    assert [column.header for column in table.columns][:3] == ["arm", "cats", "dogs"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "-"), (41.25, "41.2"), (0.01234, "0.0123"), (0.0, "0"), (-3, "-3.0")],
)
def test_numbers_are_short(value, expected):
    assert text.number(value) == expected


def test_curves_are_means_and_ranges_over_seeds():
    failed = trials(t1={"rows": trial(1, cells(SPEC)[1])["rows"][:1], "state": "diverged"})
    curves = arm_curves(failed, METRIC)
    assert [len(points) for points in curves.values()] == [2] * 6
    early, late = curves["good", "cats"]
    assert (early["kimg"], early["seeds"], late["kimg"], late["seeds"]) == (1.0, 3, 2.0, 2)
    values = [t["rows"][0][METRIC] for t in failed if (t["arm"], t["data"]) == ("good", "cats")]
    assert early["mean"] == pytest.approx(np.mean(values))
    assert (early["low"], early["high"]) == (min(values), max(values))
    assert with_all_seeds([early, late]) == [[early]] and with_all_seeds([]) == []
    assert with_all_seeds([early, late, early]) == [[early], [early]]  # no line over the gap
    lines = curve_files.as_csv(curves).splitlines()
    assert lines[0] == "arm,data,kimg,seeds,mean,low,high" and len(lines) == 13


def test_cheap_and_full_evaluations_are_never_one_curve():
    assert curve_metric(trials(), METRIC) == METRIC
    cheap = trials()
    for row in cheap:
        row["rows"][0][f"early/{METRIC}"] = row["rows"][0].pop(METRIC)
    assert curve_metric(cheap, METRIC) == f"early/{METRIC}"
    curves = arm_curves(cheap, f"early/{METRIC}")
    assert {point["kimg"] for points in curves.values() for point in points} == {1.0}


def test_pictures_are_the_same_each_time_and_readable(tmp_path):
    summary = summarise(SPEC, "t", trials(), GFLOP)
    for name in ("a", "b"):
        curve_files.draw(arm_curves(trials(), METRIC), summary, METRIC, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 1200 and picture.height > 500
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 100


def test_an_ablation_without_any_value_can_be_drawn(tmp_path):
    started = trials(**{f"t{n}": {"rows": [], "state": "unfinished"} for n in range(18)})
    summary = summarise(SPEC, "t", started, GFLOP)
    curve_files.draw(arm_curves(started, METRIC), summary, METRIC, tmp_path / "a")
    assert (tmp_path / "a.png").is_file()
    assert "no verdict" in tables.markdown(summary, "a.svg")


def test_both_moments_are_in_the_table_and_the_compared_one_is_named():
    best = replace(SPEC, compare="best")
    for spec, other in ((SPEC, "best"), (best, "last")):
        summary = summarise(spec, "t", trials(), GFLOP)
        assert summary["compare"] == spec.compare
        table = tables.main_table(summary)
        columns = [name for name in table.headings if name.endswith(f", {other} checkpoint")]
        assert len(columns) == len(spec.data)
        text = tables.explanation(summary)
        assert f"compared by the {spec.compare} checkpoint of each training" in text
        assert "measured again on new latents" in text
    key = {SPEC.compare: "best_value", "best": "last_value"}[SPEC.compare]
    expected = [trial[key] for trial in trials() if trial["arm"] == "good"]
    parts = summarise(SPEC, "t", trials(), GFLOP)["arms"][1]["other_moment"]
    means = [part["mean"] for part in parts]
    assert sum(means) / len(means) == pytest.approx(sum(expected) / len(expected))


def test_without_best_checkpoints_the_table_has_one_moment():
    plain = [trial | {"best_value": None} for trial in trials()]
    summary = summarise(SPEC, "t", plain, GFLOP)
    assert not [name for name in tables.main_table(summary).headings if "checkpoint" in name]
    assert "checkpoint" not in tables.explanation(summary)
