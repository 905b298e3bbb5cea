"""kill -9 of the driver, then --resume: nothing finished runs again, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fastgan_ray.errors import InterruptedRunError
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.session import silenced
from fastgan_ray.tune.search import run_search
from fastgan_ray.tune.storage.snapshot import restore_snapshot, save_snapshot

TEXT = """
name: t
method: bayes
sampler: tpe
metric: {name: fd_efficientnet_lite0, goal: minimize}
run_cap: 4
confirm: false
seed: 3
early_terminate: {type: hyperband, min_iter: 2, eta: 2}
base: {eval: {extractor: efficientnet_lite0, every_kimg: 1}, train: {total_kimg: 8}}
parameters:
  model.ngf: {values: [8, 16, 32, 64]}
  train.lr_g: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}
"""
DRIVER = """
import sys
from pathlib import Path
import test_tune_resume, tune_objectives
objective = getattr(tune_objectives, sys.argv[3])
store = sys.argv[4] or None
seeds = int(sys.argv[5])
test_tune_resume.drive(Path(sys.argv[1]), sys.argv[2] == "resume", objective, store, seeds)
"""
PATIENCE = 240
STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def no_driver_left():
    """End what a failed test has left running."""
    yield
    for process in STARTED:
        if process.poll() is None:
            process.kill()
            process.communicate()
    STARTED.clear()


def drive(
    runs: Path, resume: bool, objective: Callable[..., None], store: str | None, seeds: int
) -> None:
    """What the driver's process does."""
    options = TuneOptions(runs, store, resume=resume, max_concurrent=1, wandb="off")
    try:
        run_search(spec_from_text(f"{TEXT}seeds: {seeds}\n", "t.yaml"), options, objective)
    except InterruptedRunError as error:
        sys.exit(error.status)


def start_driver(
    runs: Path, mode: str, objective: str = "slow_third", store: str = "", seeds: int = 1
) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(runs), mode, objective, store, str(seeds)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    STARTED.append(process)
    return process


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "took too long"
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "objective", "ended", "killed"),
    [(1, "slow_third", ("00000", "00001"), "00002"), (2, "slow_second", ("00000",), "00001")],
)
def test_killed_driver(tmp_path, seeds, objective, ended, killed):
    """With two seeds, the second trial is the first configuration again."""
    trials = tmp_path / "t" / "trials"
    whole = start_driver(tmp_path / "whole", "new", "smooth", seeds=seeds)
    driver = start_driver(tmp_path, "new", objective, seeds=seeds)
    wait_until(lambda: "waiting" in lines(trials / killed / "ran.txt"), driver)
    before = {name: lines(trials / name / "ran.txt") for name in ended}
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    first_pid = int((trials / killed / "pid.txt").read_text())

    again = start_driver(tmp_path, "resume", objective, seeds=seeds)
    output, _ = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, output
    summary = json.loads((tmp_path / "t" / "summary.json").read_text())
    assert [trial["trial_id"] for trial in summary["trials"]] == [f"{n:05d}" for n in range(4)]
    assert {trial["state"] for trial in summary["trials"]} <= {"finished", "stopped"}
    for name, log in before.items():
        assert lines(trials / name / "ran.txt") == log, f"trial {name} had ended, and ran again"
    log = lines(trials / killed / "ran.txt")
    assert log[:5] == ["begin at 0", "1", "2", "waiting", "begin at 2"]
    assert not alive(first_pid)

    # The decisions are those of a search that was never killed.
    output, _ = whole.communicate(timeout=PATIENCE)
    assert whole.returncode == 0, output
    undisturbed = json.loads((tmp_path / "whole" / "t" / "summary.json").read_text())
    assert summary["trials"] == undisturbed["trials"]
    assert summary["best"] == undisturbed["best"]
    if seeds == 2:
        points = [trial["point"] for trial in summary["trials"]]
        assert points[1] == {**points[0], "train.seed": 1}

    # Resuming what has ended runs nothing.
    logs = {path: path.read_text() for path in trials.glob("*/ran.txt")}
    last = start_driver(tmp_path, "resume", objective, seeds=seeds)
    output, _ = last.communicate(timeout=PATIENCE)
    assert last.returncode == 0, output
    assert {path: path.read_text() for path in trials.glob("*/ran.txt")} == logs
    assert json.loads((tmp_path / "t" / "summary.json").read_text()) == summary


@pytest.mark.slow
def test_one_signal_stops_in_good_order(tmp_path):
    trials = tmp_path / "t" / "trials"
    driver = start_driver(tmp_path, "new", "patient")
    wait_until(lambda: "waiting" in lines(trials / "00002" / "ran.txt"), driver)
    driver.send_signal(signal.SIGTERM)
    output, _ = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 143, output
    assert "Stopping: trials save their state." in output
    assert "Stopped before the end. Continue with the same command and --resume." in output
    assert "Traceback" not in output and "***" not in output  # Python's and C++'s stacks
    summary = json.loads((tmp_path / "t" / "summary.json").read_text())
    assert summary["trials"][2]["state"] == "unfinished"
    output, _ = (again := start_driver(tmp_path, "resume", "patient")).communicate(timeout=PATIENCE)
    assert again.returncode == 0, output
    log = lines(trials / "00002" / "ran.txt")
    assert log[:4] == ["begin at 0", "1", "waiting", "begin at 1.5"]
    assert log[4] == "2"


@pytest.mark.slow
def test_two_signals_end_it_at_once(tmp_path):
    driver = start_driver(tmp_path, "new")
    wait_until(lambda: "waiting" in lines(tmp_path / "t" / "trials" / "00002" / "ran.txt"), driver)
    (training,) = lines(tmp_path / "t" / "trials" / "00002" / "pid.txt")
    driver.send_signal(signal.SIGINT)
    assert driver.stdout is not None
    while "Stopping" not in driver.stdout.readline():
        assert driver.poll() is None
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=PATIENCE)
    assert driver.returncode == -signal.SIGINT
    deadline = time.monotonic() + PATIENCE
    while alive(int(training)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_snapshot_is_whole_and_the_newest(tmp_path):
    source, folder, target = (tmp_path / name for name in ("source", "state", "target"))
    source.mkdir()
    target.mkdir()
    assert restore_snapshot(folder, target) is False
    for number in (1, 2):
        (source / f"experiment_state-{number}.json").write_text(f"state {number}")
        (source / "searcher-state-1.pkl").write_text(f"searcher {number}")
        save_snapshot(source, folder)
    (folder / ".00000002.draft").mkdir()
    (target / "experiment_state-3.json").write_text('{"half a fi')
    assert restore_snapshot(folder, target) is True
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        "experiment_state-2.json": "state 2",
        "searcher-state-1.pkl": "searcher 2",
    }


def test_what_ray_prints_goes_to_the_file(tmp_path, capsys):
    with silenced(tmp_path / "ray.log"):
        print("(raylet) a worker died")
    assert capsys.readouterr().out == ""
    assert "a worker died" in (tmp_path / "ray.log").read_text()
