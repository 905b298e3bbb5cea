"""`fastgan-ray train` with several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import tiny
import torch

from fastgan_ray.cli.main import main
from fastgan_ray.errors import UserError
from fastgan_ray.train import launch
from fastgan_ray.train.launch import train_together

TWO = {"resources.workers": 2}
LONG = {"train.total_kimg": 1000}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tiny.write_pictures(tmp_path_factory.mktemp("pictures"), 4)


def test_the_command_trains_with_two_processes(pictures, tmp_path, capfd):
    settings = [f"--set={key}={value}" for key, value in {**tiny.SETTINGS, **TWO}.items()]
    with pytest.raises(SystemExit) as ended:
        main(["train", f"--data={pictures}", f"--out={tmp_path / 'run'}", *settings])
    assert ended.value.code == 0
    shown = capfd.readouterr()
    assert "fd_efficientnet_lite0" in shown.out and "Traceback" not in shown.err
    (checkpoint,) = (tmp_path / "run").glob("checkpoint-[0-9]*")
    assert checkpoint.name == "checkpoint-000000016"
    assert not multiprocessing.active_children()


class Saboteur(tiny.Recorder):
    """Sends signals to the workers, by rank, after the first step."""

    def __init__(self, folder: Path, **signals: int) -> None:
        super().__init__(folder)
        self.signals = signals

    def progress(self, kimg: float, seconds: float) -> None:
        workers = sorted(multiprocessing.active_children(), key=lambda worker: worker.pid)
        for rank, number in self.signals.items():
            os.kill(workers[int(rank[-1])].pid, number)
        self.signals = {}


@pytest.mark.parametrize(
    "signals",
    [
        {"rank1": signal.SIGKILL},
        pytest.param({"rank0": signal.SIGKILL}, marks=pytest.mark.slow),
        # A stopped process stands for one that waits in a message for ever, as NCCL's do.
        {"rank0": signal.SIGSTOP, "rank1": signal.SIGKILL},
        pytest.param({"rank1": signal.SIGSTOP, "rank0": signal.SIGKILL}, marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_dies_ends_the_training(pictures, tmp_path, signals):
    settings = tiny.config(**{"data.path": str(pictures), **TWO})
    message = r"of 2 processes, the process with rank.*ended too early.*--resume"
    with pytest.raises(UserError, match=message):
        train_together(settings, Saboteur(tmp_path / "run", **signals))
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(pictures, tmp_path):
    settings = [f"--set={key}={value}" for key, value in {**tiny.SETTINGS, **TWO, **LONG}.items()]
    command = [sys.executable, "-m", "fastgan_ray", "train", f"--data={pictures}"]
    command += [f"--out={tmp_path / 'run'}", *settings]
    parent = psutil.Popen(command, stdout=subprocess.DEVNULL)
    while not list((tmp_path / "run").glob("checkpoint-*")):
        assert parent.poll() is None
        time.sleep(0.1)
    children = parent.children(recursive=True)
    assert len(children) >= 2
    parent.kill()
    parent.wait()
    assert psutil.wait_procs(children, timeout=60)[1] == []


def test_what_a_worker_says_is_raised(pictures, tmp_path):
    settings = tiny.config(**{"data.path": str(pictures / "missing"), **TWO})
    with pytest.raises(UserError, match="missing"):
        train_together(settings, tiny.Recorder(tmp_path / "run"))


def test_each_process_needs_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(launch, "device_of", lambda config: torch.device(config.train.device))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    message = "is 2, and each worker needs a GPU, but this machine has 1 GPU"
    with pytest.raises(UserError, match=message):
        train_together(tiny.config(**TWO, **{"train.device": "cuda"}), tiny.Recorder(Path()))
    message = "is 2, but this machine has one GPU, which several processes cannot share"
    with pytest.raises(UserError, match=message):
        train_together(tiny.config(**TWO, **{"train.device": "mps"}), tiny.Recorder(Path()))
