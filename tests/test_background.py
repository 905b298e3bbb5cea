"""Searches in the background: started, seen and stopped from other processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import report_runs
import tiny
from command_line import call
from test_product import SEARCH, values

from fastgan_ray.config.run_file import dump_run_config
from fastgan_ray.errors import UserError
from fastgan_ray.tune.driver.live_table_text import render
from fastgan_ray.tune.driver.status import ProgressFile, status_of
from fastgan_ray.tune.driver.terminal import make_console, say
from fastgan_ray.tune.storage.lock import NOTE, find_driver, only_driver

PATIENCE = 240.0


@pytest.fixture
def sleeper():
    """A process that has nothing to do with us."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def write_note(folder: Path, pid: int, started: float, host: str | None = None) -> None:
    note = {"pid": pid, "started": started, "host": host or os.uname().nodename}
    (folder / NOTE).write_text(json.dumps(note))


def test_the_process_that_works_on_a_run_is_found(tmp_path):
    assert find_driver(tmp_path) is None
    with only_driver(tmp_path):
        found = find_driver(tmp_path)
        assert found is not None and found.pid == os.getpid()
        with (
            pytest.raises(UserError, match=r"another process is working .* fastgan-ray stop"),
            only_driver(tmp_path),
        ):
            pass
    assert find_driver(tmp_path) is None


def test_a_process_that_has_the_number_of_a_killed_one_is_left_alone(tmp_path, sleeper, capsys):
    report_runs.write_search(tmp_path / "run", 3)
    started = psutil.Process(sleeper.pid).create_time()
    write_note(tmp_path / "run", sleeper.pid, started - 60)
    assert find_driver(tmp_path / "run") is None
    assert call("stop", tmp_path / "run") == 0
    assert "nothing to stop, because the run has ended" in capsys.readouterr().out
    assert sleeper.poll() is None
    write_note(tmp_path / "run", sleeper.pid, started, "another-machine")
    assert call("stop", tmp_path / "run") == 2
    assert "of the machine another-machine works on this run" in capsys.readouterr().err
    assert sleeper.poll() is None
    write_note(tmp_path / "run", sleeper.pid, started)
    assert call("stop", tmp_path / "run") == 0
    assert sleeper.wait(timeout=PATIENCE) == -signal.SIGTERM


@pytest.mark.parametrize("command", ["status", "stop"])
def test_only_runs_have_a_status(command, tmp_path, capsys):
    assert call(command, tmp_path) == 2
    assert "not the folder of a search, an ablation or a training" in capsys.readouterr().err


def test_a_training_has_a_status_too(tmp_path, sleeper, capsys):
    (tmp_path / "config.yaml").write_text(dump_run_config(tiny.config()))
    row = {"kimg": 0.008, "total_kimg": 0.016, "outcome": "running", "seconds": 1.0}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    write_note(tmp_path, sleeper.pid, psutil.Process(sleeper.pid).create_time())
    assert call("status", tmp_path) == 0
    out = capsys.readouterr().out
    assert f"running in process {sleeper.pid}" in out and "0.008/0.016" in out
    assert call("stop", tmp_path) == 0
    assert sleeper.wait(timeout=PATIENCE) == -signal.SIGTERM
    assert "stopped before the end" in capsys.readouterr().out


def test_the_status_of_a_run_that_nobody_works_on(tmp_path, capsys):
    folder = report_runs.write_search(tmp_path / "run", 7)
    assert call("status", folder) == 0
    out = capsys.readouterr().out
    assert "run: stopped before the end; to continue the run, repeat its command with" in out
    assert "6 of 7 trials done" in out and "best 200" in out
    assert call("status", folder, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["status"], facts["pid"]) == ("interrupted", None)
    assert facts["parts"][0]["trials_done"] == 6 and facts["parts"][0]["best"] == "00000"
    ended = report_runs.write_search(tmp_path / "ended", 5)
    assert status_of(ended).word == "ended"


def test_the_table_of_another_process_is_shown_as_that_process_shows_it(tmp_path):
    from fake_trials import eight_trials

    folder = report_runs.write_search(tmp_path / "run", 3)
    state = eight_trials()
    ProgressFile(folder).write(state, 200.0)
    (part,) = status_of(folder).parts
    states = [row["state"] for row in part.state["trials"].values()]
    assert states[5:] == 3 * ["unfinished"], "nobody works on it"
    with only_driver(folder):
        (part,) = status_of(folder).parts
    assert json.loads(json.dumps(state)) == part.state and 200.0 <= part.now < 260.0
    assert render(part.state, part.now).row_count == 8


def environment() -> dict[str, str]:
    return {**os.environ, "WANDB_MODE": "disabled"}


def wait_for(condition, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_a_search_in_the_background_from_start_to_end(tmp_path):
    (tmp_path / "pictures").mkdir()
    pictures = tiny.write_pictures(tmp_path / "pictures", 6)
    (tmp_path / "tiny.yaml").write_text(SEARCH)
    folder = tmp_path / "tiny"
    program = [sys.executable, "-m", "fastgan_ray"]
    command = [*program, "tune", "--config", str(tmp_path / "tiny.yaml"), "--runs", str(tmp_path)]
    command += ["--max-concurrent", "1", "--detach", "--data"]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, capture_output=True, text=True, env=environment())

    # What is wrong is said here, as without --detach.
    wrong = run(*command, str(tmp_path / "nowhere"))
    assert wrong.returncode == 2 and "nowhere" in wrong.stdout and not folder.exists()

    started = run(*command, str(pictures))
    assert started.returncode == 0, started.stdout + started.stderr
    assert f"To stop it: fastgan-ray stop {folder}" in started.stdout
    driver = find_driver(folder)
    assert driver is not None
    try:
        assert os.getsid(driver.pid) == driver.pid != os.getsid(0)
        assert f"in process {driver.pid}" in started.stdout
        wait_for(lambda: (folder / "trials" / "00000" / "metrics.jsonl").is_file())
        shown = run(*program, "status", str(folder))
        assert f"tiny: running in process {driver.pid}" in shown.stdout
        assert " of 3 trials done" in shown.stdout and "00000 running" in shown.stdout
        stopped = run(*program, "stop", str(folder))
        assert stopped.returncode == 0 and "saves its state before it ends" in stopped.stdout
        assert "tiny: stopped before the end" in stopped.stdout
        assert not psutil.pid_exists(driver.pid) or driver.status() == psutil.STATUS_ZOMBIE
        again = run(*program, "stop", str(folder))
        assert again.returncode == 0 and "was already stopped or killed" in again.stdout
        log = (folder / "output.log").read_text()
        assert "Stopped before the end" in log and "stopped: " in log and "--resume" in log
        assert "Traceback" not in log

        resumed = run(*command, str(pictures), "--resume")
        assert resumed.returncode == 0, resumed.stdout
        driver = find_driver(folder)
        follower = run(*program, "status", str(folder), "--follow")
        assert follower.returncode == 0 and "tiny: ended" in follower.stdout
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["verdict"] in follower.stdout
        assert len(values(summary)) == 3
        assert {trial["state"] for trial in summary["trials"]} <= {"finished", "stopped"}
        ended = run(*program, "stop", str(folder))
        assert ended.returncode == 0 and "nothing to stop" in ended.stdout
        assert "the run has ended" in ended.stdout
    finally:
        if driver is not None and driver.is_running():
            driver.kill()


def test_texts_are_printed_as_they_are(capsys):
    say(make_console(False), "photos [cats]/runs [/dev/sda1]")
    assert capsys.readouterr().out == "photos [cats]/runs [/dev/sda1]\n"


def test_a_folder_that_cannot_be_locked_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: cannot be written"), only_driver(tmp_path / "file"):
        pass
