"""report.html: its sections, its escaping, and its sentences where there is nothing to show."""

from __future__ import annotations

import io
import json
import re
from datetime import datetime, timezone
from html.parser import HTMLParser

import pytest
import report_runs
from PIL import Image
from rich.console import Console

from fastgan_ray.errors import UserError
from fastgan_ray.report.charts.learning_curves import expected_curves_chart
from fastgan_ray.report.data.ranking import best_trial, ranked, trial_colours
from fastgan_ray.report.data.run_folder import read_run
from fastgan_ray.report.page import sections
from fastgan_ray.report.page.html import page
from fastgan_ray.report.page.pictures import embedded
from fastgan_ray.report.tables.leaderboard import leaderboard
from fastgan_ray.report.tables.pareto import front_on_terminal, front_table
from fastgan_ray.search.expected import with_expected
from fastgan_ray.search.file.read import load_search
from fastgan_ray.tune.search import closing

NOW = datetime(2030, 1, 2, 3, 4, tzinfo=timezone.utc)
VOID = {"meta", "link", "img", "br", "input"}


class Reader(HTMLParser):
    """Checks that tags nest; collects them, their attributes and the text outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["script"], ["style"]):
            self.text += data


def read(folder, importance=None):
    return Reader(page(read_run(folder), importance, NOW))


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    return report_runs.write_search(tmp_path_factory.mktemp("runs") / "x&<b>")


def test_every_section_is_there_and_the_page_is_well_formed(search):
    content = read(
        search, {"trials": 12, "values": {"a<b": 0.75, "c": 0.25}, "note": "rests on 12"}
    )
    ids = [attributes["id"] for _, attributes in content.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {"leaderboard", "curves", "parallel", "importance", "tradeoff", "grids"} <= set(ids)
    assert {"nearest", "slices", "cost", "protocol"} <= set(ids) and "front" not in ids
    assert "rests on 12" in content.text and "75 %" in content.text and "a<b" in content.text
    assert "x&<b>" in content.text and "2030-01-02 03:04 UTC" in content.text
    assert "number of generated pictures" in content.text


def test_nothing_of_a_name_or_a_value_becomes_markup(search):
    content = read(search)
    assert [tag for tag, _ in content.tags].count("script") == 1
    assert report_runs.HOSTILE in content.text
    handlers = [name for _, attributes in content.tags for name in attributes if name[:2] == "on"]
    assert handlers == []


def test_the_file_needs_nothing_else(search):
    for tag, attributes in read(search).tags:
        for name in ("src", "href", "xlink:href", "data", "srcset", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
    text = page(read_run(search), None, NOW)
    assert "url(" not in text and "@import" not in text and "http://" not in text
    assert "default-src 'none'" in text.replace("&#39;", "'")
    assert not re.search(r"\b(NaN|nan|None|inf)\b", read(search).text)


def test_the_finished_come_first_and_six_have_colours(search):
    run = read_run(search)
    order = ranked(run)
    ranks = {"finished": 0, "stopped": 1, "unfinished": 1, "diverged": 2}
    places = [(ranks[trial["state"]], trial["value"] or 0.0) for trial in order]
    assert places == sorted(places) and {trial["state"] for trial in order} == ranks.keys()
    assert best_trial(run)["trial_id"] == "00000"
    colours = trial_colours(run)
    assert [colours[trial["trial_id"]] for trial in order[:7]] == [
        *(f"c{number}" for number in range(1, 7)),
        "c0",
    ]


def test_the_leaderboard_sorts_numbers_as_numbers(search):
    table = leaderboard(read_run(search))
    names = [column["name"] for column in table["columns"]]
    first = dict(zip(names, table["rows"][0]["cells"], strict=True))
    assert first[report_runs.METRIC] == {"text": "200 ± 2", "sort": 200.0}
    assert first["kimg"] == {"text": "4", "sort": 4.0}
    assert first["train.r1_gamma"] == {"text": "", "sort": None}
    assert first["memorised"]["text"] == "25.0%"


def test_pictures_are_found_where_the_folder_now_is_and_made_small(search, tmp_path):
    galleries = sections.galleries(read_run(search))
    assert len(galleries["grids"]) == 6 and galleries["same"]
    assert galleries["grids"][0]["uri"].startswith("data:image/webp;base64,")
    large = tmp_path / "large.png"
    Image.new("RGB", (3000, 1500)).save(large)
    assert (embedded(large)["width"], embedded(large)["height"]) == (760, 380)
    large.write_bytes(large.read_bytes()[:60])
    assert embedded(large) is None


def test_grids_of_other_latent_sizes_are_not_called_the_same(search):
    run = read_run(search)
    ranked(run)[1]["point"]["model.nz"] = 8
    assert not sections.galleries(run)["same"]


@pytest.mark.parametrize("account", ["with an account", "without"])
def test_of_nothing_it_speaks_in_sentences(tmp_path, account):
    folder = report_runs.write_search(tmp_path / "x", 0, verdict="No trial has ended.")
    if account == "without":
        (folder / "summary.json").unlink()
    text = read(folder).text
    assert "No trial has" in text and "No trial has been evaluated yet" in text
    assert "no Optuna study to compute importances" in text
    assert "No pictures to compare yet" in text


def test_a_running_trial_is_shown_as_far_as_it_is(tmp_path):
    folder = report_runs.write_search(tmp_path / "x", 6)
    (folder / "summary.json").unlink()
    run = read_run(folder)
    assert [trial["state"] for trial in run["trials"]] == ["unfinished"] * 6
    assert run["trials"][0]["value"] == 200.0 and run["trials"][0]["kimg"] == 4.0
    assert "trial 00000: unfinished at 4 kimg" in str(read(folder).tags)


def test_an_ablation_has_its_verdicts_intervals_and_curves(tmp_path):
    folder = report_runs.write_ablation(tmp_path / "x")
    content = read(folder)
    assert "Compared with plain: " in content.text and "better: good" in content.text
    for text in ("baseline", "good: better", "Settings of the arms"):
        assert text in content.text
    view = sections.ablation(read_run(folder))
    assert [panel["data"] for panel in view["panels"]] == ["cats", "dogs"]
    assert view["colours"][0] == ("plain", "base")
    assert [tag for tag, _ in content.tags].count("script") == 1
    (folder / "ablation.json").unlink()
    assert "No trial has ended yet" in read(folder).text


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="not the folder of a search, an ablation or a training"):
        read_run(tmp_path)


FRONT = [
    {"trial_id": "00000", report_runs.METRIC: 200.0, "params_g": 64000},
    {"trial_id": "00004", report_runs.METRIC: 240.0, "params_g": 16000},
]


def test_the_front_of_several_metrics_is_a_table(tmp_path):
    text = read(report_runs.write_search(tmp_path / "x", front=FRONT)).text
    assert "Pareto front" in text and "params_g (lower is better)" in text and "64 k" in text
    account = {"metric": {"name": report_runs.METRIC, "goal": "minimize"}}
    assert front_table(account | {"front": [{"trial_id": "0", report_runs.METRIC: 1.0}]}) is None
    assert front_table(account | {"front": []}) is None
    assert front_on_terminal(account) == []


def test_a_search_ends_with_its_front(tmp_path):
    metric = {"name": report_runs.METRIC, "goal": "minimize"}
    summary = {"verdict": "Best: x.", "best": None, "trials": [], "metric": metric}
    summary |= {"confirmation": None, "budget": {}}
    said = io.StringIO()
    for part in closing(summary | {"front": FRONT}):
        Console(file=said, width=100).print(part)
    assert closing(summary | {"front": []}) == ["Best: x."]
    assert said.getvalue().startswith("Best: x.") and "no other trial dominates" in said.getvalue()
    assert re.search(r"00004 .* 240 .* 16 k", said.getvalue())


@pytest.mark.parametrize(
    ("warned", "expected"),
    [
        ((), ""),
        ((2,), "1 trial has a warning; the best trial has no warning (see"),
        ((2, 4), "2 trials have warnings; the best trial has no warning (see"),
        ((0, 2, 4), "2 other trials have warnings (see"),
    ],
)
def test_warnings_of_trials_are_counted(search, warned, expected):
    run = read_run(search)
    for number, trial in enumerate(run["trials"]):
        trial["warning"] = "x" if number in warned else ""
    sentences = [text for text in sections.headline(run)["warnings"] if "(see" in text]
    assert [text.startswith(expected) for text in sentences] == [True] * bool(expected)


def test_the_default_is_named_wherever_its_trial_is(search):
    run = read_run(search)
    table = leaderboard(run)
    assert table["rows"][0]["cells"][1] == {
        "text": "00000 (published default)",
        "sort": "00000",
    }
    assert not any("default" in row["cells"][1]["text"] for row in table["rows"][1:])
    labels = [grid["label"] for grid in sections.galleries(run)["grids"]]
    assert labels[0] == "trial 00000 (published default)" and labels[1] == "trial 00002"
    assert sections.nearest(run)["id"] == "00000 (published default)"
    assert "Best trial, 00000 (published default): " in sections.headline(run)["warnings"][0]
    front = [{"trial_id": "00000", report_runs.METRIC: 1, "gflop_g": 2}]
    assert front_table(run["account"] | {"front": front}).rows[0][0] == "00000 (published default)"


def test_the_expected_values_of_a_search_are_shown(tmp_path):
    folder = report_runs.write_search(tmp_path / "run", 12)
    summary = json.loads((folder / "summary.json").read_text())
    rows = {trial["trial_id"]: trial["rows"] for trial in read_run(folder)["trials"]}
    spec = load_search(folder / "search.yaml", {})
    trials, ranking = with_expected(spec, summary["trials"], rows)
    summary |= {"trials": trials, "ranking": ranking}
    (folder / "summary.json").write_text(json.dumps(summary, allow_nan=False))
    content = read(folder)
    assert "chance of best" in content.text and "Expected learning curves" in content.text
    first = next(trial for trial in trials if trial["trial_id"] == next(iter(ranking["curves"])))
    interval = f"[{first['expected_low']:.4g}, {first['expected_high']:.4g}]"
    assert f"{first['expected']:.4g} {interval}" in content.text
    bands = [attributes for _, attributes in content.tags if attributes.get("class") == "band"]
    assert len(bands) == len(ranking["curves"]) > 1
    assert "100 % [100, 100]" in content.text  # the only parameter of the file
    run = read_run(folder)
    order = [trial["trial_id"] for trial in ranked(run)]
    for series in expected_curves_chart(run)["series"]:  # as in the other charts
        assert series["colour"] == trial_colours(run)[series["id"]]
        assert series["label"] == str(order.index(series["id"]) + 1)


def test_without_expected_values_the_page_says_why(tmp_path):
    note = {"note": "too few", "sentence": "", "confidence": 0.8, "curves": {}, "importances": {}}
    content = read(report_runs.write_search(tmp_path / "run", 3, ranking=note))
    assert "There are no expected values: too few." in content.text
    assert "chance of best" not in content.text
