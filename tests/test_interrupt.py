"""A training that is asked to stop: saved where it is, and resumed as if it had never stopped."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
from safetensors.torch import load_file

from fastgan_ray.cli.main import main
from fastgan_ray.config.run_file import dump_run_config
from fastgan_ray.errors import InterruptedRunError
from fastgan_ray.train import checkpoint
from fastgan_ray.train import signals as interrupt
from fastgan_ray.train.loop import train

VARYING = {"seconds", "images_per_second", "grid", "pairs", "decoded", "peak_memory_gb"}
PATIENCE = 120.0


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tiny.write_pictures(tmp_path_factory.mktemp("pictures"), 6)


class Stopped(tiny.Recorder):
    """A reporter that has the training stop after some steps; None = never."""

    def __init__(self, folder: Path, after: int | None) -> None:
        super().__init__(folder)
        self._left = after

    def progress(self, kimg, seconds):
        if self._left is not None:
            self._left -= 1

    def stopping(self):
        return self._left == 0


def weights(folder: Path) -> dict:
    return {path.name: load_file(path) for path in sorted(folder.glob("*.safetensors"))}


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(
        first[file].keys() == second[file].keys()
        and all(first[file][name].equal(second[file][name]) for name in first[file])
        for file in first
    )


def lasting(row: dict) -> dict:
    return {key: value for key, value in row.items() if key not in VARYING}


def test_stopped_between_evaluations_and_at_one_nothing_changes(pictures, tmp_path):
    config = tiny.config(**{"data.path": str(pictures), "train.total_kimg": 0.024})
    train(config, whole := Stopped(tmp_path / "whole", None))
    stopped = tmp_path / "stopped"
    rows = []
    # 6 steps, an evaluation at every second.
    for after, start in ((1, None), (2, "interrupted"), (1, "interrupted")):
        reporter = Stopped(stopped, after)
        with pytest.raises(InterruptedRunError, match="kimg"):
            train(config, reporter, start and stopped / start)
        rows += reporter.rows
        assert (checkpoint.interrupted(stopped) is not None) == (after != 1 or start is None)
    train(config, last := Stopped(stopped, None), stopped / "checkpoint-000000016")
    rows += last.rows
    assert [lasting(row) for row in rows] == [lasting(row) for row in whole.rows]
    assert same(*(weights(run / "checkpoint-000000024") for run in (tmp_path / "whole", stopped)))
    assert checkpoint.interrupted(stopped) is None


def test_sigterm_to_the_command_saves_and_says_how_to_go_on(pictures, tmp_path):
    out, file = tmp_path / "out", tmp_path / "run.yaml"
    sizes = {"train.total_kimg": 0.2, "eval.every_kimg": 0.1}
    file.write_text(dump_run_config(tiny.config(**{"data.path": str(pictures), **sizes})))
    arguments = ["train", "--config", str(file), "--out", str(out)]
    command = subprocess.Popen(
        [sys.executable, "-m", "fastgan_ray", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + PATIENCE
    while not list(out.glob("checkpoint-*/metadata.json")):
        assert command.poll() is None and time.monotonic() < deadline, command.communicate()[0]
        time.sleep(0.02)
    command.send_signal(signal.SIGTERM)
    told, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == 143, told
    assert "Press Ctrl-C again to quit immediately" in told and "Traceback" not in told
    assert f"--out {out} --resume" in told
    assert "stopped: the training is saved at 0.1" in told
    # The signal may have come while the evaluation was not quite over.
    stopped = checkpoint.interrupted(out) or out / "checkpoint-000000100"
    assert 0.1 <= json.loads((stopped / "metadata.json").read_text())["kimg"] < 0.2
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--resume"])
    assert not ended.value.code
    assert (out / "checkpoint-000000200").is_dir() and not (out / "interrupted").exists()


def test_a_second_signal_ends_at_once(tmp_path):
    code = (
        "import time; from fastgan_ray.train.signals import stopping\n"
        "with stopping(lambda stop: print('asked', stop.signal, flush=True)):\n"
        "    print('ready', flush=True)\n"
        "    while True: time.sleep(0.01)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "asked 15\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT


def test_handlers_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with interrupt.stopping(lambda stop: None):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_closed_terminal_stops_as_sigterm_does_however_often_it_says_so():
    code = (
        "import time; from fastgan_ray.train.signals import stopping\n"
        "with stopping(lambda stop: print('asked', stop.signal, flush=True)) as stop:\n"
        "    print('ready', flush=True)\n"
        "    input()\n"
        "    print(stop.error('x').status, flush=True)\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", code], **pipes)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    assert process.stdout.readline() == "asked 1\n"
    process.send_signal(signal.SIGHUP)  # from the shell, and again from the system
    out, _ = process.communicate("\n", timeout=PATIENCE)
    assert (out, process.returncode) == ("129\n", 0)


def test_nohup_stays_in_effect():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupt.stopping(lambda stop: None):
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_processes_started_for_a_run_survive_the_closed_terminal():
    with interrupt.hangup_kept_from_children():
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.send_signal(signal.SIGHUP)
    assert child.communicate(b"alive", timeout=PATIENCE)[0] == b"alive" and child.returncode == 0
    other = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    other.send_signal(signal.SIGHUP)
    other.communicate(timeout=PATIENCE)
    assert other.returncode == -signal.SIGHUP


@pytest.mark.slow
def test_a_training_whose_output_nobody_reads_goes_on(pictures, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(dump_run_config(tiny.config(**{"data.path": str(pictures)})))
    for name, arguments in {
        "out": ["train", "--config", str(file), "--out", str(tmp_path / "out")],
        "checked": ["check", str(file)],
    }.items():
        with (tmp_path / f"{name}.txt").open("w") as errors:
            command = subprocess.Popen(
                [sys.executable, "-m", "fastgan_ray", *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            command.stdout.close()
            assert command.wait(timeout=PATIENCE) == 0
        assert "Error" not in (tmp_path / f"{name}.txt").read_text()
    assert (tmp_path / "out" / "checkpoint-000000016" / "metadata.json").is_file()
