"""The W&B log: what lies on disk afterwards, and that W&B cannot stop a search."""

import json
import socket
import struct
import sys
from types import SimpleNamespace

import psutil
import pytest
import wandb
from PIL import Image
from ray import cloudpickle
from wandb.proto import wandb_internal_pb2

from fastgan_ray.config.schema import RunConfig
from fastgan_ray.tune import wandb_log
from fastgan_ray.tune.wandb_log import WandbLog, choose_mode, log_row, summary, sync_line

METRIC = "fid5k_full"


def fake_trial(number, total_kimg=8.0):
    config = RunConfig.model_validate({"train": {"total_kimg": total_kimg, "lr_g": 1e-3}})
    return SimpleNamespace(
        trial_id=f"{number:05d}",
        config={"number": number, "point": {"train.lr_g": 1e-3}, "run": config.model_dump()},
        status="RUNNING",
        last_result={},
        has_reported_at_least_once=False,
        error_file=None,
        path=None,
    )


def result_of(kimg, grid=None, **more):
    return {
        "kimg": float(kimg),
        METRIC: 400.0 / kimg,
        "loss/d": 1.5,
        "seconds": 2.0 * kimg,
        "images_per_second": 50.0,
        "params_g": 1234,
        "outcome": "running",
        "reason": "",
        "training_iteration": 3,
        "pid": 77,
        "hostname": "secret-host",
        **({"grid": str(grid)} if grid else {}),
        **more,
    }


def records(path):
    """The records of a .wandb file: LevelDB's log format after a header of 7 bytes."""
    data, position, parts = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        body = data[position + 7 : position + 7 + length]
        position += 7 + length
        parts = body if kind in (1, 2) else parts + body
        if kind in (1, 4):  # whole, or last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record


def read_run(folder, trial):
    """Config, history rows, summary and exit code of a trial's runs on disk, in order of time."""
    wandb.teardown()  # waits for the files, as the end of a process does
    run = SimpleNamespace(config={}, history=[], summary={}, exit_code=None, name=None, group=None)
    paths = sorted(folder.glob(f"wandb/offline-run-*-{trial.trial_id}*/run-*.wandb"))
    assert paths
    for record in (record for path in paths for record in records(path)):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.name, run.group = record.run.display_name, record.run.run_group
            run.config |= {
                item.key: json.loads(item.value_json) for item in record.run.config.update
            }
        elif kind == "history":
            row = {}
            for item in record.history.item:
                row["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
            run.history.append(row)
        elif kind == "summary":
            for item in record.summary.update:
                run.summary["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


@pytest.fixture(autouse=True)
def no_login(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture(autouse=True, scope="module")
def no_process_left():
    yield
    wandb.teardown()
    left = psutil.Process().children(recursive=True)
    assert not [child for child in left if "wandb" in child.name()]


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.png"
    Image.new("RGB", (16, 16), (200, 30, 30)).save(path)
    return path


def log_in(folder, mode="offline"):
    return WandbLog(folder, "project", "demo", mode, METRIC)


def test_runs_are_complete_on_disk_however_a_trial_ends(tmp_path, grid, capfd):
    log = log_in(tmp_path / "runs")
    finished, stopped, diverged, killed, _cut_off = trials = [fake_trial(n) for n in range(5)]
    for trial in trials:
        log.on_trial_start(0, trials, trial)
        for kimg in (2, 4):
            log.on_trial_result(0, trials, trial, result_of(kimg, grid))
    log.on_trial_result(0, trials, finished, result_of(8, grid, outcome="finished"))
    log.on_trial_complete(0, trials, finished)
    log.on_trial_complete(0, trials, stopped)
    end = {"kimg": 4.0, "seconds": 9.0, "outcome": "diverged", "reason": "loss/d is nan"}
    log.on_trial_result(0, trials, diverged, end)
    log.on_trial_complete(0, trials, diverged)
    error = tmp_path / "error.txt"
    error.write_text("Traceback\n  ...\nActorDiedError: killed\n\n")
    killed.error_file = str(error)
    log.on_trial_error(0, trials, killed)
    log.on_experiment_end(trials)

    runs = [read_run(log.folder, trial) for trial in trials]
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
    run = runs[1]
    assert (run.name, run.group) == ("00001", "demo")
    assert run.history[1][METRIC] == 100 and run.history[1]["_step"] == 4000
    assert run.history[1]["grid/caption"] == "4 kimg, fid5k_full 100"
    picture = next(log.folder.glob("wandb/*-00001")) / "files" / run.history[1]["grid/path"]
    assert Image.open(picture).getpixel((3, 3)) == (200, 30, 30)
    assert run.config["train"]["lr_g"] == 1e-3 and run.config["model"]["ngf"] == 64
    assert run.summary[METRIC] == 100 and run.summary["params_g"] == 1234
    assert run.summary["images_per_second"] == 50
    assert sync_line(log.folder).endswith(f"wandb sync {tmp_path}/runs/wandb/offline-run-*")
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
    restored = cloudpickle.loads(cloudpickle.dumps(log))
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
    assert [row["_step"] for row in read_run(tmp_path, trial).history] == [2000, 2000, 4000]
    assert read_run(tmp_path, trial).summary["state"] == "stopped"
    assert len(list(tmp_path.glob(f"wandb/offline-run-*-{run_id}"))) == 1


def test_a_retried_trial_keeps_its_run(tmp_path):
    log, trial = log_in(tmp_path), fake_trial(0)
    for _ in range(2):
        log.on_trial_start(0, [trial], trial)
        log.on_trial_result(0, [trial], trial, result_of(2))
    log.on_trial_complete(0, [trial], trial)
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 1
    assert [row["kimg"] for row in read_run(tmp_path, trial).history] == [2]


def test_a_missing_grid_is_left_out(tmp_path):
    log, trial = log_in(tmp_path), fake_trial(0)
    log.on_trial_start(0, [trial], trial)
    log.on_trial_result(0, [trial], trial, result_of(2, tmp_path / "on-another-node.png"))
    log.on_trial_complete(0, [trial], trial)
    (row,) = read_run(tmp_path, trial).history
    assert row["kimg"] == 2 and not any(key.startswith("grid") for key in row)


def test_a_server_that_never_answers_leaves_an_offline_run(tmp_path, monkeypatch, capsys):
    server = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setitem(wandb_log.SETTINGS, "init_timeout", 0.5)
    log, trials = log_in(tmp_path, "auto"), [fake_trial(90), fake_trial(91)]
    assert log.mode == "online"
    for trial in trials:
        log.on_trial_start(0, trials, trial)
        log.on_trial_result(0, trials, trial, result_of(2))
        log.on_trial_complete(0, trials, trial)
    server.close()
    assert log.mode == "offline"
    assert capsys.readouterr().err.count("\n") == 1
    for trial in trials:
        assert [row["kimg"] for row in read_run(tmp_path, trial).history] == [2]


def test_online_without_a_login_goes_offline_and_never_asks(tmp_path, capsys):
    log, trial = log_in(tmp_path, "online"), fake_trial(0)
    log.on_trial_start(0, [trial], trial)
    log.on_trial_complete(0, [trial], trial)
    assert "not logged in" in capsys.readouterr().err
    assert read_run(tmp_path, trial).exit_code == 0


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
        "W&B failed, logging no more; the search goes on. OSError: no space left\n"
    )


def test_a_missing_wandb_is_no_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    log, trial = log_in(tmp_path), fake_trial(0)
    log.on_trial_start(0, [trial], trial)
    log.on_trial_complete(0, [trial], trial)
    assert log.mode == "disabled" and "logging no more" in capsys.readouterr().err


def test_disabled_touches_nothing(tmp_path):
    log, trial = log_in(tmp_path, "disabled"), fake_trial(0)
    log.on_trial_start(0, [trial], trial)
    log.on_trial_result(0, [trial], trial, result_of(2))
    log.on_trial_complete(0, [trial], trial)
    assert list(tmp_path.iterdir()) == [] and sync_line(tmp_path) is None


@pytest.mark.parametrize(
    ("environ", "netrc", "expected"),
    [
        ({}, "", "offline"),
        ({"WANDB_API_KEY": "x"}, "", "online"),
        ({"WANDB_API_KEY": "x", "WANDB_MODE": "disabled"}, "", "disabled"),
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
    row = log_row(result_of(4, "grid.png", bad=float("nan"), flag=True, **{"loss/g": float("inf")}))
    assert row == {
        "kimg": 4.0,
        METRIC: 100.0,
        "loss/d": 1.5,
        "seconds": 8.0,
        "images_per_second": 50.0,
        "params_g": 1234,
    }
    assert isinstance(row["params_g"], int)


def test_a_summary_has_what_is_known():
    known = {"kimg": 2.0, "reason": "", "other": 1}
    assert summary("stopped", known, METRIC) == {"kimg": 2.0, "state": "stopped", "reason": ""}
