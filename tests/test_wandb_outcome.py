"""What a search leaves in W&B at its end: a leaderboard, its account and the winner, once."""

import json
from pathlib import Path

import pytest
import wandb
from PIL import Image
from wandb_files import (
    METRIC,
    no_login,  # noqa: F401 - for every test here
    no_process_left,  # noqa: F401 - likewise
    read_run,
)

from fastgan_ray.tune.wandb.outcome import (
    confirmation_table,
    leaderboard,
    log_outcome,
    prediction_tables,
)
from fastgan_ray.tune.wandb.session import Session
from fastgan_ray.tune.wandb.tags import outcome_tags

SEARCH = """
method: random
metric: {name: fid}
parameters:
  train.lr_g: {values: [1e-3, 2e-3, 3e-3, 4e-3, 2e-4]}
  augment.policy: {values: ["", "color,translation"]}
  model.ngf: {values: [8, 64]}
"""
WEIGHTS = b"weights of the average"


def trial(number, state, value, **point):
    return {
        "trial_id": f"{number:05d}",
        "state": state,
        "value": value,
        "error": None if value is None else 1.5,
        "kimg": 8.0,
        "seconds": 9.0,
        "reason": "trained 8 of 8 kimg",
        "warning": "",
        "point": point,
    }


TRIALS = [
    trial(0, "stopped", 10.0, **{"train.lr_g": 1e-3, "augment.policy": ""}),
    trial(1, "finished", 30.0, **{"train.lr_g": 2e-3}),
    trial(2, "finished", 20.0, **{"train.lr_g": 3e-3, "model.ngf": 8}),
    trial(3, "diverged", None, **{"train.lr_g": 4e-3}),
]
ACCOUNT = {
    "name": "demo",
    "metric": {"name": METRIC, "goal": "minimize"},
    "protocol": {"extractor": "inception"},
    "verdict": "Best: trial 00002.",
    "best": {"trial_id": "00002", "value": 20.0, "error": 1.5, "state": "finished"},
    "trials": TRIALS,
}


@pytest.fixture
def folder(tmp_path):
    """A finished search's folder."""
    folder = tmp_path / "demo"
    for name in ("trials/00002/grids", "best/checkpoint"):
        (folder / name).mkdir(parents=True)
    for number in (4000, 8000):
        picture = Image.new("RGB", (number // 1000, 8))
        picture.save(folder / f"trials/00002/grids/{number:09d}.png")
    (folder / "search.yaml").write_text(SEARCH)
    (folder / "overrides.json").write_text("{}")
    (folder / "report.html").write_text("<p>report</p>")
    rows = [{"kimg": kimg, METRIC: 200.0 / kimg, "params_g": 12} for kimg in (5.0, 10.0)]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / "trials/00002/metrics.jsonl").write_text(lines)
    (folder / "summary.json").write_text(json.dumps(ACCOUNT))
    (folder / "best/config.yaml").write_text("train: {}")
    (folder / "best/checkpoint/metadata.json").write_text("{}")
    (folder / "best/checkpoint/ema.safetensors").write_bytes(WEIGHTS)
    (folder / "best/checkpoint/discriminator.safetensors").write_bytes(b"weights of D")
    (folder / "best/checkpoint/training.safetensors").write_bytes(b"not to sample from")
    return folder


def session_in(folder):
    return Session(folder, "project", folder.name, "offline")


def outcomes(folder):
    return sorted(folder.glob("wandb/offline-run-*-outcome"))


def test_the_best_finished_trial_leads_and_every_searched_value_has_a_column():
    columns, rows = leaderboard(ACCOUNT, {"00002": "picture"})
    assert columns[:3] == ["rank", "samples", "trial_id"]
    assert columns[-3:] == ["train.lr_g", "model.ngf", "augment.policy"]
    assert [row[2] for row in rows] == ["00002", "00001", "00000", "00003"]
    assert rows[0][1] == "picture" and rows[0][-3:] == [3e-3, 8, None]
    assert [row[0] for row in rows] == [1, 2, 3, 4]
    most = {**ACCOUNT, "metric": {"name": METRIC, "goal": "maximize"}}
    assert [row[2] for row in leaderboard(most, {})[1]] == ["00001", "00002", "00000", "00003"]


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ([1, 2.5, None], [1, 2.5, None]),
        (["a", None], ["a", None]),
        ([True, False], [True, False]),
        ([1, "auto"], ["1", "auto"]),
        ([True, 1], ["True", "1"]),
        ([[1, 2], None], ["[1, 2]", None]),
    ],
)
def test_a_column_has_one_type_as_wandb_demands(values, cells):
    trials = [trial(number, "finished", 1.0, x=value) for number, value in enumerate(values)]
    columns, rows = leaderboard({**ACCOUNT, "trials": trials}, {})
    assert [row[-1] for row in rows] == cells
    wandb.Table(columns=columns, data=rows)


def test_predicted_curves_and_importances_are_tables_with_intervals():
    ranking = {
        "curves": {"00002": [[5.0, 40.0, 35.0, 45.0], [10.0, 20.0, 15.0, 25.0]]},
        "importances": {"train.lr_g": [0.7, 0.5, 0.9], "model.ngf": [0.3, 0.1, 0.5]},
    }
    tables = prediction_tables({**ACCOUNT, "ranking": ranking})
    columns, rows = tables["expected curves"]
    assert columns == ["trial_id", "kimg", "expected", "expected_low", "expected_high"]
    assert rows == [["00002", 5.0, 40.0, 35.0, 45.0], ["00002", 10.0, 20.0, 15.0, 25.0]]
    assert tables["importances"][1][0] == ["train.lr_g", 0.7, 0.5, 0.9]
    for columns, rows in tables.values():
        wandb.Table(columns=columns, data=rows)
    empty = {"curves": {}, "importances": {}}
    assert prediction_tables({**ACCOUNT, "ranking": empty}) == prediction_tables(ACCOUNT) == {}


def test_an_ablations_cells_are_columns():
    cells = [
        {**{k: v for k, v in one.items() if k != "point"}, "arm": arm, "data": "heads", "seed": 0}
        for one, arm in zip(TRIALS, "abcd", strict=True)
    ]
    columns, rows = leaderboard({**ACCOUNT, "trials": cells}, {})
    assert columns[-3:] == ["arm", "data", "seed"] and rows[0][-3:] == ["c", "heads", 0]


def test_leaderboard_account_and_winner_lie_in_the_runs_folder(folder, monkeypatch, capfd):
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    log_outcome(session_in(folder), "search", ACCOUNT)
    run = read_run(folder, "outcome")
    assert (run.group, run.job, run.name) == ("demo", "search", "demo search")
    (row,) = run.history
    assert (row["leaderboard/_type"], row["leaderboard/nrows"]) == ("table-file", 4)
    artifacts = {one.name: one for one in run.artifacts}
    (shown,) = (one for one in run.artifacts if one.type == "run_table")
    parts = {entry.path: Path(entry.local_path) for entry in shown.manifest.contents}
    table = json.loads(parts.pop("leaderboard.table.json").read_text())
    assert table["columns"] == leaderboard(ACCOUNT, {})[0]
    assert [line[2] for line in table["data"]] == ["00002", "00001", "00000", "00003"]
    assert (table["data"][0][1]["width"], table["data"][1][1]) == (8, None)  # the newest grid
    with Image.open(parts[table["data"][0][1]["path"]]) as picture:
        assert picture.size == (8, 8)

    winner = artifacts["demo-best"]
    files = {entry.path: Path(entry.local_path) for entry in winner.manifest.contents}
    assert files.keys() == {
        "config.yaml",
        "checkpoint/ema.safetensors",
        "checkpoint/discriminator.safetensors",
        "checkpoint/metadata.json",
    }
    assert files["checkpoint/ema.safetensors"].read_bytes() == WEIGHTS
    told = json.loads(winner.metadata)
    identifier = (folder / "wandb" / "search_id").read_text()
    assert (told["trial_run"], told["value"]) == (f"{identifier}-00002", 20.0)
    assert run.id == f"{identifier}-outcome" and run.summary["trial_run"] == told["trial_run"]
    kept = {entry.path for entry in artifacts["demo-search"].manifest.contents}
    assert kept == {"search.yaml", "overrides.json", "summary.json", "report.html"}
    for one in run.artifacts:
        assert all(Path(e.local_path).is_relative_to(folder) for e in one.manifest.contents)
    assert run.exit_code == 0 and capfd.readouterr() == ("", "")


def test_it_is_logged_once_also_after_a_resume(folder):
    unfinished = {**ACCOUNT, "trials": [*TRIALS, trial(4, "unfinished", 9.0)]}
    log_outcome(session_in(folder), "search", unfinished)
    log_outcome(session_in(folder), "search", {**ACCOUNT, "trials": []})
    assert outcomes(folder) == []
    for _ in range(3):
        log_outcome(session_in(folder), "search", ACCOUNT)
    (first,) = outcomes(folder)
    wandb.teardown()
    # A trial that failed was tried again by --resume, and all came out otherwise.
    first.rename(first.with_name("offline-run-20200101_000000-first-outcome"))
    again = {**ACCOUNT, "trials": [*TRIALS[:3], trial(3, "finished", 1.0)]}
    log_outcome(session_in(folder), "search", again)
    assert len(outcomes(folder)) == 2


def test_a_search_without_a_value_has_no_winner(folder):
    nothing = {**ACCOUNT, "best": None, "trials": [TRIALS[3]]}
    log_outcome(session_in(folder), "search", nothing)
    run = read_run(folder, "outcome")
    assert {"demo-search"} == {one.name for one in run.artifacts if one.type == "search"}
    assert not [one for one in run.artifacts if one.type == "model"]


def test_a_failure_is_told_in_a_line_and_stops_nothing(folder, monkeypatch, capsys):
    def fail(**arguments):
        raise OSError("no space left")

    monkeypatch.setattr(wandb, "init", fail)
    session = session_in(folder)
    log_outcome(session, "search", ACCOUNT)
    assert session.mode == "off"
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.undo()
    assert not (folder / "wandb" / "outcome.sha256").exists()


def test_off_logs_nothing(folder):
    log_outcome(Session(folder, "project", "demo", "off"), "search", ACCOUNT)
    assert not (folder / "wandb").exists()


def arm(name, trial_id, mean, verdict=""):
    return {
        "name": name,
        "trial_id": trial_id,
        "search_value": 20.0,
        "values": [mean, None],
        "mean": mean,
        "sd": 1.0,
        "interval": [mean - 1, mean + 1],
        "change": None if not verdict else -30.0,
        "change_interval": None,
        "p": None if not verdict else 0.01,
        "verdict": verdict,
        "note": "",
        "seeds": 1,
    }


CONFIRMATION = {
    "seeds": [1, 2],
    "arms": [arm("published default", None, 30.0), arm("trial 00002", "00002", 21.0, "better")],
    "searched": "trial 00002",
    "winner": "trial 00002",
    "sentence": "Confirmed: trial 00002 is better than the published default in 2 seeds.",
}
CONFIRMED = {**ACCOUNT, "confirmation": CONFIRMATION, "verdict": CONFIRMATION["sentence"]}


def test_the_outcome_has_the_confirmation_on_which_the_verdict_rests(folder):
    log_outcome(session_in(folder), "search", CONFIRMED)
    run = read_run(folder, "outcome")
    (row,) = run.history
    assert (row["leaderboard/nrows"], row["confirmation/nrows"]) == (4, 2)
    columns, rows = confirmation_table(CONFIRMATION)
    assert columns[:3] == ["arm", "role", "verdict"] and columns[-2:] == ["seed 1", "seed 2"]
    assert rows[1][:6] == ["trial 00002", "searched, winner", "better", "", 1, 21.0]
    assert rows[1][-2:] == [21.0, None] and {len(row) for row in rows} == {len(columns)}
    assert run.summary["verdict"] == run.summary["confirmation"] == CONFIRMATION["sentence"]
    assert confirmation_table(None) is None


def test_a_winner_of_the_confirmation_names_its_own_run(folder):
    (folder / "confirm/wandb").mkdir(parents=True)
    (folder / "confirm/wandb/search_id").write_text("c0nf")
    best = {**ACCOUNT["best"], "source": "confirm/trials/00003"}
    log_outcome(session_in(folder), "search", {**CONFIRMED, "best": best})
    assert read_run(folder, "outcome").summary["trial_run"] == "c0nf-00003"


def test_the_best_and_the_confirmed_trial_get_tags_and_keep_their_facts(folder):
    log_outcome(session_in(folder), "search", CONFIRMED)
    run = read_run(folder, "00002")
    assert run.tags == ["best", "confirmed"] and run.job == "trial"
    assert run.name == "00002 lr_g=0.003 ngf=8"
    assert run.config["train"]["lr_g"] == 3e-3 and run.config["model"]["ngf"] == 8
    told = {"state": "finished", "value": 20.0, "best": 20.0, "params_g": 12, "kimg": 10.0}
    assert {**told, "reason": "trained 8 of 8 kimg"}.items() <= run.summary.items()
    log_outcome(session_in(folder), "search", CONFIRMED)
    assert len(list(folder.glob("wandb/offline-run-*-00002"))) == 1


def test_a_trial_that_is_no_longer_the_best_loses_its_tags(folder):
    """The search has continued, and another trial is better."""
    log_outcome(session_in(folder), "search", CONFIRMED)
    best = {**ACCOUNT["best"], "trial_id": "00001"}
    log_outcome(session_in(folder), "search", {**ACCOUNT, "best": best})
    assert (folder / "wandb" / "00002.tags").read_text() == "[]"
    assert "best" in (folder / "wandb" / "00001.tags").read_text()


def test_tags_follow_the_verdict():
    assert outcome_tags(ACCOUNT) == {"00002": ["best"]}
    arms = [{**arm, "verdict": "indistinguishable"} for arm in CONFIRMATION["arms"]]
    refuted = {**CONFIRMATION, "arms": arms}
    assert outcome_tags({**ACCOUNT, "confirmation": refuted}) == {"00002": ["best"]}
    other = {**ACCOUNT, "confirmation": CONFIRMATION, "best": {"trial_id": "00001"}}
    assert outcome_tags(other) == {"00001": ["best"], "00002": ["confirmed"]}
    assert outcome_tags({**ACCOUNT, "best": None}) == {}
    assert outcome_tags({**ACCOUNT, "best": {"trial_id": None}}) == {}


def test_a_confirmations_outcome_is_in_the_group_of_its_search(folder):
    session = Session(folder, "project", "demo", "offline", confirms=True)
    (folder / "ablation.yaml").write_text("name: confirm")
    log_outcome(session, "ablation", {**ACCOUNT, "best": None})
    run = read_run(folder, "outcome")
    assert (run.group, run.job, run.name) == ("demo", "confirmation-outcome", "demo confirmation")
    assert "demo-confirmation" in {one.name for one in run.artifacts}
