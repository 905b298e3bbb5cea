"""`fastgan-ray train` with several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import tiny
import torch

from fastgan_ray.cli.main import main
from fastgan_ray.errors import UserError
from fastgan_ray.train import launch as together
from fastgan_ray.train.launch import train_together

TWO = {"resources.workers": 2}


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
    (checkpoint,) = (tmp_path / "run").glob("checkpoint-*")
    assert checkpoint.name == "checkpoint-000000016"
    assert not multiprocessing.active_children()


class Killer(tiny.Recorder):
    """Kills the other process after the first step."""

    def progress(self, kimg: float, seconds: float) -> None:
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGKILL)
            process.join()


def test_a_process_that_dies_ends_the_training(pictures, tmp_path):
    settings = tiny.config(**{"data.path": str(pictures), **TWO})
    threads = torch.get_num_threads()
    with pytest.raises(UserError, match=r"one of the 2 processes has ended.*--resume"):
        train_together(settings, Killer(tmp_path / "run"))
    assert not multiprocessing.active_children()
    assert torch.get_num_threads() == threads


def test_each_process_needs_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(together, "choose_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="2 workers need a GPU each, and this machine has 1"):
        train_together(tiny.config(**TWO, **{"train.device": "cuda"}), tiny.Recorder(Path()))
    with pytest.raises(UserError, match="cannot share this machine's one GPU"):
        train_together(tiny.config(**TWO, **{"train.device": "mps"}), tiny.Recorder(Path()))
