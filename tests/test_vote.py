"""The blind vote: what a page shows and hides, and what its votes mean."""

from __future__ import annotations

import itertools
import json
import shutil
import webbrowser
from collections import Counter
from datetime import datetime, timezone

import numpy as np
import pytest
import report_runs
import torch
import vote_runs
from command_line import call
from PIL import Image
from test_report_html import Reader

from fastgan_ray.data.grid import cut_grid, save_grid
from fastgan_ray.report.data.run_folder import read_run
from fastgan_ray.report.data.vote_page import plan_pairs
from fastgan_ray.report.data.votes import read_results
from fastgan_ray.report.page.html import page as report_page

NOW = datetime(2030, 1, 2, tzinfo=timezone.utc)
METRIC = "fd_efficientnet_lite0"


@pytest.fixture
def pictures(tmp_path):
    return vote_runs.write_pictures(tmp_path / "pictures")


@pytest.fixture
def run(tmp_path, pictures):
    return vote_runs.search(tmp_path / "secretrun", pictures)


def vote(*words):
    return call("vote", *words, "--no-open")


def only(folder, pattern):
    (path,) = (folder / "votes").glob(pattern)
    return path


def key_of(run):
    return json.loads(only(run, "page-*.json").read_text())


def by_number(left, right):
    """A voter to whom the lower number is better, and the control (the highest) best of all."""
    control = 4
    rank = {control: -1}
    return "left" if rank.get(left, left) < rank.get(right, right) else "right"


def add(run, content, name="votes.json"):
    file = run.parent / name
    file.write_text(json.dumps(content))
    return call("vote", run, "--add", file)


def test_the_page_opens_and_names_nothing(run, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    assert call("vote", run, "--pairs", 10) == 0
    path = only(run, "page-*.html")
    assert opened == [path.as_uri()]
    assert f"fastgan-ray vote {run} --add FILE" in capsys.readouterr().out
    text = path.read_text()
    for word in ("secretrun", "trial", "00000", METRIC, "control", "published", "pictures/"):
        assert word not in text, word
    reader = Reader(text)
    assert [tag for tag, _ in reader.tags].count("script") == 1
    assert "default-src 'none'" in text.replace("&#39;", "'")
    for tag, attributes in reader.tags:
        for name in ("src", "href", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:"), (tag, value)


def test_without_a_browser_it_says_so(run, capsys, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    assert call("vote", run, "--pairs", 5) == 0
    assert "No browser was found" in capsys.readouterr().out


def test_both_sides_show_the_same_latents_and_the_control_is_of_the_training_set(run):
    assert vote(run, "--pairs", 30) == 0
    key = key_of(run)
    names = [generator["name"] for generator in key["generators"]]
    # The four best (finished before others), of which the best is the default; 00005 still runs.
    assert names == [
        "trial 00000 (the published default)",
        "trial 00002",
        "trial 00004",
        "trial 00005",
    ]
    reds = [5 * int(generator["trial"]) for generator in key["generators"]]
    shown = vote_runs.sides(only(run, "page-*.html").read_text())
    assert len(shown) == len(key["pairs"]) == 30
    assert sum(len(reds) in pair for pair in key["pairs"]) == 6  # a fifth has the control
    latents = set()
    for pair, numbers in zip(shown, key["pairs"], strict=True):
        greens = []
        for side, number in zip(pair, numbers, strict=True):
            found = vote_runs.tiles(side, 9)
            red = [*reds, vote_runs.TRAINING][number]
            assert all(abs(tile[0] - red) <= 4 for tile in found), (numbers, found)
            if number < len(reds):
                greens.append([round(tile[1] / 6) for tile in found])
        assert len(greens) < 2 or greens[0] == greens[1]
        assert len(set(greens[0])) == 9
        latents.add(tuple(greens[0]))
        assert pair[0].shape == pair[1].shape
    assert len(latents) == 30  # each pair has latents of its own


def test_the_same_command_gives_the_same_page_and_another_seed_another(run):
    assert vote(run, "--pairs", 10) == vote(run, "--pairs", 10) == 0
    first = only(run, "page-*.html").read_text()
    assert vote(run, "--pairs", 10, "--seed", 1) == 0
    pages = sorted((run / "votes").glob("page-*.html"))
    assert len(pages) == 2 and sum(path.read_text() == first for path in pages) == 1


@pytest.mark.parametrize(("count", "pairs"), [(2, 5), (3, 20), (5, 40), (7, 200)])
def test_everyone_meets_everyone_about_equally_often_on_both_sides(count, pairs):
    generators = [{"grids": {"": None}}] * count
    plan = plan_pairs(generators, pairs, 9, seed=3)
    assert len(plan) == pairs
    met = Counter(frozenset((pair.left, pair.right)) for pair in plan)
    among = [met[frozenset(match)] for match in itertools.combinations(range(count), 2)]
    control = [met[frozenset((number, count))] for number in range(count)]
    assert sum(control) == round(pairs / 5)
    for counts in (among, control):
        assert max(counts) - min(counts) <= 1
    sides = Counter((pair.left, pair.right) for pair in plan)
    assert all(abs(sides[a, b] - sides[b, a]) <= 1 for a, b in sides)
    left = sum(pair.left == count for pair in plan)
    assert pairs < 40 or 0 < left < sum(control)


def test_sides_are_random_even_if_a_pair_is_shown_only_once():
    generators = [{"grids": {"": None}}] * 5
    lefts = [
        pair.left < pair.right
        for seed in range(20)
        for pair in plan_pairs(generators, 12, 4, seed)
        if pair.right < 5 and pair.left < 5
    ]
    assert len(lefts) == 200 and 70 < sum(lefts) < 130


def test_votes_are_summed_up_and_report_and_compare_show_them(run, capsys):
    assert vote(run, "--pairs", 60) == 0
    key = key_of(run)
    capsys.readouterr()
    assert add(run, vote_runs.sheet(key, by_number, "Ada")) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 voter, 60 votes." in shown and "The votes prefer trial 00000" in shown
    assert "Control: Ada preferred the training pictures in 12 of 12 pairs" in shown
    assert "so Ada can see the difference" in shown
    (result,) = read_results(run)
    assert [row["number"] for row in result["rows"]] == [4, 0, 1, 2, 3]
    strengths = {row["number"]: row["strength"] for row in result["rows"]}
    assert sum(strengths[number] for number in range(4)) == pytest.approx(0)
    for row in result["rows"]:
        assert row["low"] < row["strength"] < row["high"]
        games = [pair for pair in key["pairs"] if row["number"] in pair]
        assert row["of"] == len(games)
        won = sum(
            by_number(*pair) == ("left" if pair[0] == row["number"] else "right") for pair in games
        )
        assert row["won"] == won
    # Ranks 0, 1, 2 have the values 200, 220, 240; the fourth, a trial that still runs, 250.
    share = result["agreements"][METRIC]
    assert share.won == share.of == 48
    kernel = result["agreements"]["kd_efficientnet_lite0"]
    expected = [pair for pair in key["pairs"] if 4 not in pair]
    order = [1.0, 3.0, 5.0, 6.0]
    agree = sum((order[a] < order[b]) == (by_number(a, b) == "left") for a, b in expected)
    assert (kernel.won, kernel.of) == (agree, 48)
    text = Reader(report_page(read_run(run), None, NOW)).text
    assert "Blind votes" in text and "training pictures (control)" in text and "Ada" in text
    assert call("compare", run, run / "trials" / "00004", "--json") == 0
    best, other = json.loads(capsys.readouterr().out)
    assert best["votes"][0]["strength"] == pytest.approx(strengths[0])
    assert other["votes"][0]["strength"] == pytest.approx(strengths[2])
    assert call("compare", run) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "blind votes" in shown and "The votes prefer trial 00000" in shown


def test_a_report_without_votes_has_no_section_of_them(run):
    assert "Blind votes" not in report_page(read_run(run), None, NOW)
    assert vote(run, "--pairs", 5) == 0
    assert "Blind votes" not in report_page(read_run(run), None, NOW)


def test_what_the_control_and_the_sides_say_about_a_careless_voter(run, capsys):
    assert vote(run, "--pairs", 60) == 0
    key = key_of(run)
    assert add(run, vote_runs.sheet(key, lambda left, right: "left")) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "This can be chance" in shown and "did not look closely" in shown
    assert "chose the left side in 60 of 60 pairs" in shown
    assert add(run, vote_runs.sheet(key, lambda left, right: "equal", "Bo", "cd34")) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "2 voters, 120 votes, 60 of them undecided" in shown
    assert "Bo decided no pair with the control" in shown
    assert "The strongest generator is" in shown and "its lead over" in shown


def test_a_sheet_that_is_saved_twice_counts_once_and_the_longer_one_counts(run):
    assert vote(run, "--pairs", 10) == 0
    whole = vote_runs.sheet(key_of(run), by_number)
    part = {**whole, "votes": whole["votes"][:4]}
    for content in (part, whole, part):
        assert add(run, content) == 0
    shutil.copy(only(run, "votes-*.json"), run / "votes" / f"votes-{whole['page']} (1).json")
    (result,) = read_results(run)
    assert [voter["votes"] for voter in result["voters"]] == [10]


def test_votes_that_were_changed_and_saved_again_replace_the_first(run):
    assert vote(run, "--pairs", 10) == 0
    key = key_of(run)
    for choice in ("left", "equal"):
        assert add(run, vote_runs.sheet(key, lambda left, right, choice=choice: choice)) == 0
    (result,) = read_results(run)
    assert [(voter["votes"], voter["equal"]) for voter in result["voters"]] == [(10, 10)]


def test_runs_side_by_side_and_a_folder_that_moves(tmp_path, pictures, run, capsys):
    other = vote_runs.search(tmp_path / "other", pictures, 3)
    trial = other / "trials" / "00001"
    assert vote(run, other, run, trial, trial, "--pairs", 20) == 0  # two of them twice
    key = key_of(other)
    names = ["secretrun: trial 00000 (the published default)"]
    names += ["other: trial 00000 (the published default)", "other: trial 00001"]
    assert [generator["name"] for generator in key["generators"]] == names
    assert key["own"] == [1, 2] and key_of(run)["own"] == [0]
    assert not list((other / "votes").glob("*.html"))
    file = tmp_path / "votes.json"
    file.write_text(json.dumps(vote_runs.sheet(key, lambda left, right: "left")))
    assert call("vote", run, other, "--add", file) == 0
    moved = other.rename(tmp_path / "moved")
    capsys.readouterr()
    assert call("compare", run, moved, "--json") == 0
    assert [len(entry["votes"]) for entry in json.loads(capsys.readouterr().out)] == [1, 1]
    assert call("compare", run, moved) == 0
    assert capsys.readouterr().out.count("1 voter, 20 votes") == 1


def test_arms_of_an_ablation_are_shown_with_the_same_seed(tmp_path, pictures, capsys):
    run = vote_runs.ablation(tmp_path / "arms", pictures)
    for path in (run, pictures):
        assert path.is_dir()
    account = json.loads((run / "ablation.json").read_text())
    assert vote(run, "--pairs", 30) == 0
    key = key_of(run)
    assert [generator["arm"] for generator in key["generators"]] == [
        a["name"] for a in account["arms"]
    ]
    cells = {}  # the red of a trial's grid says its number
    for number, trial in enumerate(account["trials"]):
        cells[number] = (trial["arm"], trial["seed"], trial["data"])
    shown = vote_runs.sides(only(run, "page-*.html").read_text())
    for pair, numbers in zip(shown, key["pairs"], strict=True):
        trials = [
            cells[round(np.mean([red for red, _ in vote_runs.tiles(side, 9)]) / 5)]
            for side, number in zip(pair, numbers, strict=True)
            if number < 3
        ]
        assert len({(seed, data) for _, seed, data in trials}) == 1
        assert trials[0][2] == account["data"][0]
    assert add(run, vote_runs.sheet(key, lambda left, right: "left")) == 0
    (result,) = read_results(run)
    assert {row["arm"] for row in result["rows"]} == {None, *(a["name"] for a in account["arms"])}


BAD_SHEETS = {
    "another format": lambda sheet: {**sheet, "format": "x"},
    "a list": lambda sheet: [],
    "no votes": lambda sheet: {key: sheet[key] for key in sheet if key != "votes"},
    "a choice": lambda sheet: {**sheet, "votes": [{"pair": 0, "choice": "up"}]},
    "a pair that is text": lambda sheet: {**sheet, "votes": [{"pair": "0", "choice": "left"}]},
    "a pair below 0": lambda sheet: {**sheet, "votes": [{"pair": -1, "choice": "left"}]},
    "a pair too many": lambda sheet: {**sheet, "votes": [{"pair": 10, "choice": "left"}]},
    "a pair twice": lambda sheet: {**sheet, "votes": [sheet["votes"][0]] * 2},
    "a name that leads elsewhere": lambda sheet: {**sheet, "sheet": "../../x"},
    "a page that leads elsewhere": lambda sheet: {**sheet, "page": "../x"},
    "another page": lambda sheet: {**sheet, "page": "00000000"},
    "a voter that is a number": lambda sheet: {**sheet, "voter": 3},
    "a voter that is an order to the terminal": lambda sheet: {**sheet, "voter": "\x1b[2J"},
    "a voter with a long name": lambda sheet: {**sheet, "voter": "x" * 61},
}


@pytest.mark.parametrize("case", BAD_SHEETS)
def test_a_file_that_is_no_file_of_votes_is_refused_and_changes_nothing(case, run, capsys):
    assert vote(run, "--pairs", 10) == 0
    before = sorted(run.rglob("*"))
    assert add(run, BAD_SHEETS[case](vote_runs.sheet(key_of(run), by_number))) == 2
    printed = capsys.readouterr()
    assert "votes.json" in printed.err and "Traceback" not in printed.err
    assert sorted(run.rglob("*")) == before


def test_a_run_that_cannot_be_written_is_named(run, capsys):
    (run / "votes").write_text("not a folder")
    assert vote(run, "--pairs", 10) == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert "votes" in printed and "cannot be read or written" in printed


def test_a_voters_name_is_text_and_no_markup(run, capsys):
    assert vote(run, "--pairs", 10) == 0
    assert add(run, vote_runs.sheet(key_of(run), by_number, report_runs.HOSTILE)) == 0
    assert report_runs.HOSTILE in " ".join(capsys.readouterr().out.split())
    reader = Reader(report_page(read_run(run), None, NOW))
    assert reader.text.count(f"Control: {report_runs.HOSTILE} preferred") == 1
    assert [tag for tag, _ in reader.tags].count("script") == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--pictures", "8"), "--pictures: must be 1, 4, 9, 16, 25 or 36 (got 8)"),
        (("--data", "nowhere"), "nowhere"),
        (("--add", "nowhere.json"), "nowhere.json: cannot be read"),
    ],
)
def test_bad_input_is_a_message(words, expected, run, capsys):
    assert vote(run, *words) == 2
    assert expected in " ".join(capsys.readouterr().err.split())
    assert not (run / "votes").exists()


def test_too_few_generators_and_other_pictures_are_refused(tmp_path, pictures, run, capsys):
    alone = vote_runs.search(tmp_path / "alone", pictures, 1)
    assert vote(alone) == 2
    assert "at least 2 generators with a grid of samples (got 1)" in capsys.readouterr().err
    other = vote_runs.search(tmp_path / "other", pictures, 1)
    for folder, reference in ((run, "abc"), (other, "def")):
        path = folder / "summary.json"
        summary = json.loads(path.read_text())
        path.write_text(json.dumps({**summary, "protocol": {"reference": reference}}))
    assert vote(run, other) == 2
    assert "measured on different pictures" in " ".join(capsys.readouterr().err.split())
    (alone / "trials/00000/grids/1.png").write_bytes(b"x")
    assert vote(alone, run / "trials/00001") == 2
    assert "not a grid of 36 samples" in " ".join(capsys.readouterr().err.split())


def test_generators_that_were_measured_differently_have_votes_but_no_agreement(
    tmp_path, pictures, run, capsys
):
    other = vote_runs.search(tmp_path / "other", pictures, 1)
    summary = json.loads((other / "summary.json").read_text())
    summary["protocol"]["num_fakes"] = 9
    (other / "summary.json").write_text(json.dumps(summary))
    assert vote(run, other, "--pairs", 10) == 0
    key = key_of(run)
    assert not key["same_protocol"]
    assert add(run, vote_runs.sheet(key, lambda left, right: "left")) == 0
    assert "measured differently" in " ".join(capsys.readouterr().out.split())
    assert read_results(run)[0]["agreements"] == {}


@pytest.mark.parametrize("count", [1, 4, 7, 36])
def test_a_grid_is_cut_into_the_tiles_that_made_it(count, tmp_path):
    images = torch.rand(count, 3, 5, 8) * 2 - 1
    save_grid(images, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        cut = [np.asarray(tile) for tile in cut_grid(grid, count)]
    for number, tile in enumerate(cut):
        save_grid(images[number : number + 1], tmp_path / "tile.png")
        with Image.open(tmp_path / "tile.png") as alone:
            assert np.array_equal(tile, np.asarray(alone))
    with pytest.raises(ValueError, match="cannot be a grid of 36 tiles"):
        list(cut_grid(Image.new("RGB", (101, 101)), 36))
