"""A disk that is full, and a save that is cut off: what was there stands, and the work goes on."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import tune_objectives as objectives
from test_tune_search import make_spec, ran

from fastgan_ray.errors import UserError, full_disk
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.search.file.spec import run_config, start_point
from fastgan_ray.train import checkpoint
from fastgan_ray.train.rng import CPU
from fastgan_ray.train.state import new_state
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.session import connected
from fastgan_ray.tune.search import run_search
from fastgan_ray.tune.trial.folder import append_row

FILES = 10  # of a checkpoint


@pytest.fixture
def saved(tmp_path):
    """A configuration, its state, and a checkpoint of it."""
    config = tiny.config()
    state = new_state(config, 6, CPU)
    return config, state, checkpoint.save(tmp_path / "checkpoint-1", state, config, {"kimg": 1})


@contextlib.contextmanager
def no_file_above(size: int):
    """Writing more than that to a file fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def loads(folder: Path, config) -> bool:
    checkpoint.restore(folder, new_state(config, 6, CPU), config)
    return True


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before_it(saved, tmp_path):
    config, state, before = saved
    for name in ("checkpoint-2", "checkpoint-1"):
        found = pytest.raises(UserError, match=r"cannot be written.*--resume")
        with no_file_above(2000), found as refused:
            checkpoint.save(tmp_path / name, state, config, {"kimg": 2})
        assert full_disk(refused.value) == "File too large"
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]
        assert loads(before, config)


def test_a_save_killed_at_any_file_leaves_the_one_before_it(saved, tmp_path, monkeypatch):
    config, state, before = saved
    save_file = checkpoint.save_file
    count = 0

    def killed_at(number):
        def save(tensors, path):
            nonlocal count
            if count == number:
                Path(path).write_bytes(b"half a fi")
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            save_file(tensors, path)

        return save

    for number in range(FILES):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the child does not live to use a thread
            child = os.fork()
        if child == 0:
            monkeypatch.setattr(checkpoint, "save_file", killed_at(number))
            checkpoint.save(tmp_path / "checkpoint-2", state, config, {"kimg": 2})
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert not (tmp_path / "checkpoint-2").exists()
        assert loads(before, config)
    assert loads(checkpoint.save(tmp_path / "checkpoint-2", state, config, {"kimg": 2}), config)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"checkpoint-1", "checkpoint-2"}, "what killed processes left is gone"


def test_a_row_that_does_not_fit_is_not_written_by_half(tmp_path):
    rows = [{"kimg": float(kimg), "text": "x" * 50} for kimg in range(3)]
    append_row(tmp_path, rows[0])
    size = (tmp_path / "metrics.jsonl").stat().st_size
    with no_file_above(size + 20), pytest.raises(OSError):
        append_row(tmp_path, rows[1])
    append_row(tmp_path, rows[2])
    assert read_rows(tmp_path) == [rows[0], rows[2]]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root can make a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_search_on_a_full_disk_says_so_and_goes_on_once_there_is_room(small_disk, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    spec = make_spec(1, early=False)
    options = TuneOptions(small_disk, wandb="off", quiet=True)
    with connected(None):
        with pytest.raises(UserError, match=r"cannot be written \(No space left.*--resume"):
            run_search(spec, options, objectives.disk_filler)
        (small_disk / "filler").unlink()
        folder = run_search(spec, replace(options, resume=True), objectives.disk_filler)
    (trial,) = json.loads((folder / "summary.json").read_text())["trials"]
    assert trial["state"] == "finished"
    assert trial["value"] == objectives.loss(run_config(spec, start_point(spec)), 8)
    assert ran(small_disk, "00000")[0] == "begin at 0", "what was there still is"
