"""The W&B log: what lies on disk afterwards, and that W&B cannot stop a search."""

import os
import socket
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import wandb
from PIL import Image
from wandb_files import (
    METRIC,
    MINIMISED,
    fake_trial,
    log_in,
    no_login,  # noqa: F401 - for every test here
    no_process_left,  # noqa: F401 - likewise
    read_run,
    result_of,
)
from wandb_server import server  # noqa: F401 - a fixture

from fastgan_ray.metrics.names import early_name
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.tune.ray.compat import RESULT_KEYS
from fastgan_ray.tune.trial.folder import write_stop
from fastgan_ray.tune.wandb import compat, session
from fastgan_ray.tune.wandb.callback import WandbLog
from fastgan_ray.tune.wandb.rows import CONSTANTS, log_row, summary, update
from fastgan_ray.tune.wandb.session import Session, choose_mode, sync_line


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.png"
    Image.new("RGB", (16, 16), (200, 30, 30)).save(path)
    return path


def test_runs_are_complete_on_disk_however_a_trial_ends(tmp_path, grid, capfd):
    log = log_in(tmp_path / "runs")
    finished, stopped, diverged, killed, _cut_off = trials = [fake_trial(n) for n in range(5)]
    for trial in trials:
        log.on_trial_start(0, trials, trial)
        for kimg in (2, 4):
            log.on_trial_result(0, trials, trial, result_of(kimg, grid))
    log.on_trial_result(0, trials, finished, result_of(8, grid, outcome="finished"))
    log.on_trial_complete(0, trials, finished)
    write_stop(log.session.folder / "trials" / stopped.trial_id, 4.0, "too slow")
    log.on_trial_complete(0, trials, stopped)
    end = {"kimg": 4.0, "seconds": 9.0, "outcome": "diverged", "reason": "loss/d is nan"}
    log.on_trial_result(0, trials, diverged, end)
    log.on_trial_complete(0, trials, diverged)
    error = tmp_path / "error.txt"
    error.write_text("Traceback\n  ...\nActorDiedError: killed\n\n")
    killed.error_file = str(error)
    log.on_trial_error(0, trials, killed)
    log.on_experiment_end(trials)

    runs = [read_run(log.session.folder, trial.trial_id) for trial in trials]
    assert [[row["kimg"] for row in run.history] for run in runs] == [[2, 4, 8], *([[2, 4]] * 4)]
    assert [run.summary["state"] for run in runs] == [
        "finished",
        "stopped",
        "diverged",
        "failed",
        "running",
    ]
    assert [run.exit_code for run in runs] == [0, 0, 1, 1, 0]
    assert runs[2].summary["reason"] == "loss/d is nan"
    assert runs[3].summary["reason"] == "ActorDiedError: killed"
    assert runs[0].summary["reason"] == "trained 8 of 8 kimg"
    assert runs[1].summary["reason"] == "stopped early at 4 of 8 kimg: too slow"
    assert runs[4].summary["reason"] == "interrupted at 4 of 8 kimg"
    assert [run.tags for run in runs] == [[], ["stopped"], [], [], []]
    run = runs[1]
    assert (run.name, run.group) == ("00001 lr_g=0.001", "demo")
    assert run.history[1][METRIC] == 100 and run.history[1]["_step"] == 4000
    assert run.history[1]["grid/caption"] == "4 kimg, fid5k_full 100"
    picture = next(log.session.folder.glob("wandb/*-00001")) / "files" / run.history[1]["grid/path"]
    assert Image.open(picture).getpixel((3, 3)) == (200, 30, 30)
    assert run.config["train"]["lr_g"] == 1e-3 and run.config["model"]["ngf"] == 64
    assert run.summary[METRIC] == 100 and run.summary["params_g"] == 1234
    assert run.summary["images_per_second"] == 50
    assert sync_line(log.session.folder).endswith(f"wandb sync {tmp_path}/runs/wandb/offline-run-*")
    assert capfd.readouterr() == ("", "")


def test_nothing_of_the_machine_or_source_is_written(tmp_path):
    log, trial = log_in(tmp_path), fake_trial(0)
    log.on_trial_start(0, [trial], trial)
    log.on_trial_complete(0, [trial], trial)
    files = [path for path in tmp_path.glob("wandb/offline-run-*/files/**/*") if path.is_file()]
    assert files == []
    content = next(tmp_path.glob("wandb/offline-run-*/*.wandb")).read_bytes()
    assert sys.argv[0].encode() not in content and b"secret-host" not in content


def test_a_restored_log_goes_on_under_the_same_id(tmp_path):
    log, trial = log_in(tmp_path), fake_trial(0)
    log.on_trial_start(0, [trial], trial)
    log.on_trial_result(0, [trial], trial, result_of(2))
    restored = log_in(tmp_path)
    log.on_experiment_end([trial])  # stands for what a killed driver had written
    (first,) = tmp_path.glob("wandb/offline-run-*")
    run_id = first.name.split("-", 3)[-1]
    first.rename(
        first.with_name("offline-run-20200101_000000-first-00000")
    )  # the folder has seconds

    restored.on_trial_start(0, [trial], trial)
    for kimg in (2, 2, 4):  # a resumed trial repeats its rows
        restored.on_trial_result(0, [trial], trial, result_of(kimg))
    restored.on_trial_complete(0, [trial], trial)
    assert [row["_step"] for row in read_run(tmp_path, trial.trial_id).history] == [
        2000,
        2000,
        4000,
    ]
    assert read_run(tmp_path, trial.trial_id).summary["state"] == "stopped"
    assert len(list(tmp_path.glob(f"wandb/offline-run-*-{run_id}"))) == 1


def test_a_retried_trial_keeps_its_run(tmp_path):
    log, trial = log_in(tmp_path), fake_trial(0)
    for _ in range(2):
        log.on_trial_start(0, [trial], trial)
        log.on_trial_result(0, [trial], trial, result_of(2))
    log.on_trial_complete(0, [trial], trial)
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 1
    assert [row["kimg"] for row in read_run(tmp_path, trial.trial_id).history] == [2]


def test_a_run_is_named_by_its_choices_and_tagged_as_the_default(tmp_path):
    log = WandbLog(Session(tmp_path, "project", "demo", "offline"), MINIMISED, {"train.lr_g": 1e-3})
    default, cell = fake_trial(0), fake_trial(1)
    cell.config["point"] = {"arm": "no noise", "data": "heads", "seed": 3}
    other = fake_trial(2)
    other.config["point"] = {"train.lr_g": 2e-4, "augment.policy": "color," * 99}
    for trial in (default, cell, other):
        log.on_trial_start(0, [trial], trial)
        log.on_trial_complete(0, [trial], trial)
    run = read_run(tmp_path, "00000")
    assert (run.name, run.tags) == ("00000 default lr_g=0.001", ["default", "stopped"])
    run = read_run(tmp_path, "00001")
    assert run.name == "00001 no noise heads 3" and run.config["cell"]["seed"] == 3
    run = read_run(tmp_path, "00002")
    assert run.name.startswith("00002 lr_g=0.0002 policy=col,col,") and len(run.name) == 128


def test_a_confirmations_runs_are_in_the_group_of_their_search(tmp_path):
    session = Session(tmp_path, "project", "demo", "offline", confirms=True)
    log, trial = WandbLog(session, MINIMISED, {"arm": "published default"}), fake_trial(0)
    trial.config["point"] = {"arm": "published default", "data": "heads", "seed": 3}
    log.on_trial_start(0, [trial], trial)
    log.on_trial_complete(0, [trial], trial)
    run = read_run(tmp_path, "00000")
    assert (run.group, run.job) == ("demo", "confirmation")
    assert run.name == "00000 published default heads 3" and run.tags[0] == "default"


@pytest.mark.parametrize(
    ("value", "mode"),
    [("dryrun", "offline"), ("run", "online"), ("ONLINE", "online"), ("nonsense", "offline")],
)
def test_any_wandb_mode_keeps_the_log(tmp_path, monkeypatch, capsys, value, mode):
    monkeypatch.setenv("WANDB_MODE", value)
    wandb.teardown()  # W&B reads the environment once
    assert choose_mode("auto", {"WANDB_MODE": value}) == mode
    warning = "WANDB_MODE must be one of online, run, shared, offline, dryrun, disabled, off"
    assert (warning in capsys.readouterr().err) == (value == "nonsense")
    log, trial = log_in(tmp_path, "offline" if mode == "online" else "auto"), fake_trial(0)
    log.on_trial_start(0, [trial], trial)
    log.on_trial_result(0, [trial], trial, result_of(2))
    log.on_trial_complete(0, [trial], trial)
    assert log.session.mode == "offline" and "failed" not in capsys.readouterr().err
    assert [row["kimg"] for row in read_run(tmp_path, "00000").history] == [2]
    assert os.environ["WANDB_MODE"] == value


def test_a_missing_grid_is_left_out(tmp_path):
    log, trial = log_in(tmp_path), fake_trial(0)
    log.on_trial_start(0, [trial], trial)
    log.on_trial_result(0, [trial], trial, result_of(2, tmp_path / "on-another-node.png"))
    log.on_trial_complete(0, [trial], trial)
    (row,) = read_run(tmp_path, trial.trial_id).history
    assert row["kimg"] == 2 and not any(key.startswith("grid") for key in row)


def test_a_server_that_never_answers_leaves_an_offline_run(tmp_path, monkeypatch, capsys):
    silent = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setitem(compat.SETTINGS, "init_timeout", 0.5)
    log, trials = log_in(tmp_path, "auto"), [fake_trial(90), fake_trial(91)]
    assert log.session.mode == "online"
    for trial in trials:
        log.on_trial_start(0, trials, trial)
        log.on_trial_result(0, trials, trial, result_of(2))
        log.on_trial_complete(0, trials, trial)
    silent.close()
    assert log.session.mode == "offline"
    assert capsys.readouterr().err.count("\n") == 1
    for trial in trials:
        assert [row["kimg"] for row in read_run(tmp_path, trial.trial_id).history] == [2]


def test_online_without_a_login_goes_offline_and_never_asks(tmp_path, capsys):
    log, trial = log_in(tmp_path, "online"), fake_trial(0)
    log.on_trial_start(0, [trial], trial)
    log.on_trial_complete(0, [trial], trial)
    assert "not logged in" in capsys.readouterr().err
    assert read_run(tmp_path, trial.trial_id).exit_code == 0


def test_a_broken_wandb_is_told_once_and_left_alone(tmp_path, monkeypatch, capsys):
    calls = []

    def fail(**arguments):
        calls.append(arguments)
        raise OSError("no\nspace left")

    monkeypatch.setattr(wandb, "init", fail)
    log, trials = log_in(tmp_path), [fake_trial(n) for n in range(3)]
    for trial in trials:
        log.on_trial_start(0, trials, trial)
        log.on_trial_result(0, trials, trial, result_of(2))
        log.on_trial_error(0, trials, trial)
    log.on_experiment_end(trials)
    assert len(calls) == 1
    assert capsys.readouterr().err == (
        "W&B failed, so nothing more is logged to W&B; the training continues. "
        "OSError: no space left\n"
    )


def test_a_missing_wandb_is_no_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    log, trial = log_in(tmp_path), fake_trial(0)
    log.on_trial_start(0, [trial], trial)
    log.on_trial_complete(0, [trial], trial)
    assert log.session.mode == "off" and "so nothing more is logged" in capsys.readouterr().err


def test_off_touches_nothing(tmp_path):
    log, trial = log_in(tmp_path, "off"), fake_trial(0)
    log.on_trial_start(0, [trial], trial)
    log.on_trial_result(0, [trial], trial, result_of(2))
    log.on_trial_complete(0, [trial], trial)
    assert list(tmp_path.iterdir()) == [] and sync_line(tmp_path) is None


@pytest.mark.parametrize(
    ("environ", "netrc", "expected"),
    [
        ({}, "", "offline"),
        ({"WANDB_API_KEY": "x"}, "", "online"),
        ({"WANDB_API_KEY": "x", "WANDB_MODE": "disabled"}, "", "off"),
        ({}, "machine api.wandb.ai login user password x", "online"),
        ({}, "machine example.org login user password x", "offline"),
        ({"WANDB_BASE_URL": "https://w.example.org"}, "machine w.example.org password x", "online"),
        ({}, "machine machine machine {", "offline"),
    ],
)
def test_auto_is_online_with_a_login(tmp_path, environ, netrc, expected):
    path = tmp_path / "netrc"
    path.write_text(netrc)
    path.chmod(0o600)
    assert choose_mode("auto", {**environ, "NETRC": str(path)}) == expected
    assert choose_mode("offline", {**environ, "NETRC": str(path)}) == "offline"


def test_a_row_holds_finite_numbers_of_the_run_only():
    result = result_of(4, "grid.png", bad=float("nan"), flag=True, **{"loss/g": float("inf")})
    row = log_row(result, RESULT_KEYS)
    assert row == {
        "kimg": 4.0,
        METRIC: 100.0,
        "loss/d": 1.5,
        "seconds": 8.0,
        "images_per_second": 50.0,
    }
    assert isinstance(log_row({"kimg": 1, "steps": np.int64(3)})["steps"], int)


def test_a_summary_has_the_same_names_whatever_was_searched():
    known = {"kimg": 2.0, "reason": "", METRIC: 7.0, "best": 5.0, f"{METRIC}_se_fakes": 0.5}
    told = {"kimg": 2.0, "reason": "", METRIC: 7.0, "best": 5.0}
    assert summary("stopped", {**known, "other": 1}, METRIC) == {
        **told,
        "state": "stopped",
        "value": 7.0,
        "error": 0.5,
    }
    assert summary("diverged", known, METRIC) == {**told, "state": "diverged"}
    assert summary("failed", {"reason": "killed"}, METRIC) == {
        "state": "failed",
        "reason": "killed",
    }


@pytest.mark.parametrize(("goal", "best"), [("minimize", 3.0), ("maximize", 9.0)])
def test_the_best_value_is_known_and_cheap_evaluations_are_kept_apart(goal, best):
    metric, known = Metric(name=METRIC, goal=goal), {}
    for value in (5.0, 3.0, 9.0, 4.0):
        known = update(known, {early_name(METRIC): value}, metric)
    assert (summary("stopped", known, METRIC)["best"]) == best
    known = update(known, {METRIC: 8.0}, metric)
    assert summary("finished", known, METRIC)["best"] == 8.0
    known = update(known, {"kimg": 9.0, "outcome": "diverged"}, metric)
    assert summary("diverged", known, METRIC)["best"] == 8.0


def test_a_warning_holds_until_the_next_evaluation():
    known = update({}, {METRIC: 1.0, "warning": "copies"}, MINIMISED)
    assert update(known, {"reason": "loss/d is nan"}, MINIMISED)["warning"] == "copies"
    assert update(known, {METRIC: 1.0}, MINIMISED)["warning"] == ""


def test_what_a_person_chooses_by_is_logged(tmp_path, grid):
    """Typed configuration, kimg under every curve, errors, watched quantities, all pictures."""
    watched = ("augment/p", "regan/sparsity", "logits/real", "grad/g", "peak_memory_gb")
    numbers = {**dict.fromkeys(watched, 0.5), f"{METRIC}_se": 3.0, f"{METRIC}_se_fakes": 2.0}
    numbers |= {"memorised": 0.25, "nearest_ratio": 0.8, "num_fakes": 64, "gflop_g": 1.5}
    numbers |= {"total_kimg": 8.0, "orders": 0}
    curves = {key: value for key, value in numbers.items() if key not in CONSTANTS}
    pictures = {"pairs": str(grid), "decoded": str(grid), "warning": "copies"}
    log, trial = log_in(tmp_path), fake_trial(0)
    log.on_trial_start(0, [trial], trial)
    for kimg in (2, 8):
        log.on_trial_result(0, [trial], trial, result_of(kimg, grid, **numbers, **pictures))
    log.on_trial_complete(0, [trial], trial)
    run = read_run(tmp_path, "00000")
    assert run.job == "trial"
    model, train = run.config["model"], run.config["train"]
    assert type(model["ngf"]) is int and type(train["lr_g"]) is float
    assert run.config["data"]["limit"] is None and run.config["augment"]["policy"]
    everything = dict(run.metrics)["*"]
    assert everything.step_metric == "kimg"
    for row, step in zip(run.history, (2000, 8000), strict=True):
        assert row["_step"] == step and curves.items() <= row.items()
        assert not row.keys() & {*CONSTANTS}, "a constant is no curve"
        for key in ("grid", "pairs", "decoded"):
            assert (row[f"{key}/_type"], row[f"{key}/width"]) == ("image-file", 16)
    told = {"state": "finished", "value": 50.0, "best": 50.0, "error": 2.0, "kimg": 8.0}
    told |= {
        "memorised": 0.25,
        "nearest_ratio": 0.8,
        "peak_memory_gb": 0.5,
        "warning": "copies",
        "gflop_g": 1.5,
        "num_fakes": 64,
    }
    assert told.items() <= run.summary.items()


def test_a_refusing_server_leaves_an_offline_run(tmp_path, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # nobody listens there from here on
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setitem(compat.SETTINGS, "init_timeout", 0.5)
    log, trial = log_in(tmp_path, "online"), fake_trial(92)
    log.on_trial_start(0, [trial], trial)
    log.on_trial_result(0, [trial], trial, result_of(2))
    log.on_trial_complete(0, [trial], trial)
    assert log.session.mode == "offline"
    assert "the rest is logged offline" in capsys.readouterr().err
    assert [row["kimg"] for row in read_run(tmp_path, "00092").history] == [2]


def test_a_server_that_falls_silent_loses_nothing_and_is_made_good_by_sync(
    tmp_path,
    monkeypatch,
    capsys,
    server,  # noqa: F811 - the fixture
):
    monkeypatch.setitem(compat.SETTINGS, "finish_timeout", 0.5)
    log, trials = log_in(tmp_path, "auto"), [fake_trial(93), fake_trial(94)]
    first, second = trials
    log.on_trial_start(0, trials, first)
    log.on_trial_result(0, trials, first, result_of(2))
    assert log.session.mode == "online"
    server.speaking.clear()
    log.on_trial_result(0, trials, first, result_of(4))
    log.on_trial_complete(0, trials, first)
    assert log.session.mode == "offline"
    log.on_trial_start(0, trials, second)
    log.on_trial_result(0, trials, second, result_of(2))
    log.on_trial_complete(0, trials, second)
    assert capsys.readouterr().err.count("W&B failed") == 1
    (online,) = tmp_path.glob("wandb/run-*-00093")
    (offline,) = tmp_path.glob("wandb/offline-run-*-00094")
    left = str(tmp_path / "wandb")
    assert sync_line(tmp_path).endswith(f"wandb sync {left}/offline-run-* {online}")
    server.speaking.set()
    run = read_run(tmp_path, "00093", "run")
    assert [row["kimg"] for row in run.history] == [2, 4]
    assert (run.summary["state"], run.exit_code) == ("stopped", 0)
    assert offline.is_dir() and read_run(tmp_path, "00094").summary["state"] == "stopped"


def test_two_runs_at_a_silent_server_do_not_end_the_log(
    tmp_path,
    monkeypatch,
    capsys,
    server,  # noqa: F811 - the fixture
):
    """Both were opened online; further trials are still logged offline."""
    monkeypatch.setitem(compat.SETTINGS, "finish_timeout", 0.5)
    log, trials = log_in(tmp_path, "auto"), [fake_trial(95), fake_trial(96), fake_trial(97)]
    for trial in trials[:2]:
        log.on_trial_start(0, trials, trial)
        log.on_trial_result(0, trials, trial, result_of(2))
    server.speaking.clear()
    for trial in trials[:2]:
        log.on_trial_complete(0, trials, trial)
    assert log.session.mode == "offline"
    assert capsys.readouterr().err.count("W&B failed") == 1
    log.on_trial_start(0, trials, trials[2])
    log.on_trial_result(0, trials, trials[2], result_of(2))
    log.on_trial_complete(0, trials, trials[2])
    assert read_run(tmp_path, "00097").summary["state"] == "stopped"
    server.speaking.set()


def test_what_a_server_has_taken_is_not_to_be_sent_again(tmp_path):
    files = tmp_path / "wandb" / "run-20200101_000000-x-00000" / "files"
    files.mkdir(parents=True)
    (files.parent / session.UNSENT).touch()  # as if the driver had been killed
    assert sync_line(tmp_path).endswith(f"wandb sync {files.parent}")
    session.close(SimpleNamespace(dir=str(files), finish=lambda exit_code: None))
    assert sync_line(tmp_path) is None
