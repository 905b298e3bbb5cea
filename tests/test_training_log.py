"""The training numbers between evaluations: their values, their files and their cost."""

from pathlib import Path

import pytest
import tiny
from command_line import call
from safetensors.torch import load_file
from test_training import scalars
from wandb_files import (
    METRIC,
    fake_trial,
    log_in,
    no_login,
    no_process_left,
    read_run,
    result_of,
)

from fastgan_ray.config.run_file import dump_run_config
from fastgan_ray.errors import InterruptedRunError
from fastgan_ray.report.data.rows import TRAINING, read_rows
from fastgan_ray.train import checkpoint
from fastgan_ray.train.loop import train
from fastgan_ray.tune.driver.tensorboard import TensorBoardNumbers
from fastgan_ray.tune.trial.folder import append_row, cut_log

__all__ = ["no_login", "no_process_left"]
NAMES = {
    *("loss/d", "loss/g", "loss/reconstruction", "grad/d", "grad/g", "augment/p", "lr/g", "lr/d"),
    *("logits/real", "logits/fake", "sign/real", "sign/fake", "accuracy/real", "accuracy/fake"),
    *("images_per_second", "peak_memory_gb", "kimg", "seconds"),
}
TIMES = {"images_per_second", "peak_memory_gb", "seconds"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tiny.write_pictures(tmp_path_factory.mktemp("pictures"), 6)


@pytest.fixture
def config(pictures):
    def make(**changes):
        sizes = {"train.total_kimg": 0.024, "eval.every_kimg": 0.016}  # 6 steps
        return tiny.config(**{"data.path": str(pictures), **sizes, **changes})

    return make


class Stopped(tiny.Recorder):
    """A reporter that asks to stop after some steps."""

    def __init__(self, folder: Path, after: int) -> None:
        super().__init__(folder)
        self._left = after

    def progress(self, kimg: float, seconds: float) -> None:
        self._left -= 1

    def stopping(self) -> bool:
        return self._left == 0


def lasting(rows: list[dict]) -> list[dict]:
    return [{name: row[name] for name in row.keys() - TIMES} for row in rows]


def run(config, folder: Path, resume_from: Path | None = None) -> tiny.Recorder:
    train(config, recorder := tiny.Recorder(folder), resume_from)
    return recorder


def test_a_row_has_the_means_since_the_last_row(config, tmp_path):
    each = run(config(**{"train.log_every_kimg": 0.004}), tmp_path / "each").numbers
    pairs = run(config(**{"train.log_every_kimg": 0.008}), tmp_path / "pairs").numbers
    assert [row["kimg"] for row in each] == [0.004, 0.008, 0.012, 0.016, 0.02, 0.024]
    assert [row["kimg"] for row in pairs] == [0.008, 0.016, 0.024]
    for index, row in enumerate(pairs):
        assert row.keys() == NAMES
        for name in NAMES - TIMES - {"kimg"}:
            mean = (each[2 * index][name] + each[2 * index + 1][name]) / 2
            assert row[name] == pytest.approx(mean, rel=1e-4, abs=1e-6), name
        assert row["images_per_second"] > 0
        assert 0 <= row["accuracy/real"] <= 1 and -1 <= row["sign/fake"] <= 1


def test_an_evaluation_gets_a_row_and_the_next_one_counts_from_there(config, tmp_path):
    changes = {"train.log_every_kimg": 0.012, "eval.every_kimg": 0.008}
    rows = run(config(**changes), tmp_path / "run")
    assert [row["kimg"] for row in rows.numbers] == [0.008, 0.012, 0.016, 0.024]
    last = rows.numbers[-1]
    for name in ("loss/d", "grad/g", "sign/fake"):
        assert rows.rows[-1][name] == pytest.approx(last[name], rel=1e-4)


def test_the_log_changes_no_step_and_is_off_by_default(config, tmp_path):
    plain, logged = run(config(), tmp_path / "plain"), tmp_path / "logged"
    run(config(**{"train.log_every_kimg": 0.004}), logged)
    assert plain.numbers == [] and "sign/fake" not in plain.rows[-1]
    for name in ("generator", "discriminator", "ema", "optimizer_g", "optimizer_d"):
        first, second = (
            load_file(folder / "checkpoint-000000024" / f"{name}.safetensors")
            for folder in (tmp_path / "plain", logged)
        )
        assert all(first[key].equal(second[key]) for key in first)


def test_a_stopped_and_resumed_log_equals_one_that_never_stopped(config, tmp_path):
    settings = config(**{"train.log_every_kimg": 0.008})
    whole = run(settings, tmp_path / "whole")
    parts = Stopped(tmp_path / "parts", 3)  # between two rows
    with pytest.raises(InterruptedRunError):
        train(settings, parts)
    rest = run(settings, tmp_path / "parts", checkpoint.interrupted(tmp_path / "parts"))
    assert lasting(parts.numbers + rest.numbers) == lasting(whole.numbers)


@pytest.mark.parametrize("loss", ["hinge", "least_squares", "wasserstein", "relativistic"])
def test_every_loss_has_the_numbers(config, tmp_path, loss):
    settings = config(**{"train.loss": loss, "train.log_every_kimg": 0.024})
    (row, last) = run(settings, tmp_path / "run").numbers
    assert {"sign/fake", "accuracy/real", "accuracy/fake"} <= row.keys() == last.keys()


def test_the_numbers_are_in_a_file_in_tensorboard_and_in_wandb(config, tmp_path):
    file, out = tmp_path / "run.yaml", tmp_path / "out"
    file.write_text(dump_run_config(config(**{"train.log_every_kimg": 0.004})))
    assert call("train", "--config", file, "--out", out, "--wandb", "offline") == 0
    numbers = read_rows(out, TRAINING)
    assert len(numbers) == 6 and numbers[0].keys() == NAMES
    board, history = scalars(out), read_run(out, "training").history
    for row in numbers:
        step = round(1000 * row["kimg"])
        assert board["training/loss/d", step] == pytest.approx(row["loss/d"], rel=1e-6)
        (entry,) = [entry for entry in history if entry["_step"] == step]
        assert entry["training/loss/d"] == row["loss/d"]
        assert ("fd_efficientnet_lite0" in entry) == (row["kimg"] in (0.016, 0.024))
    assert call("train", "--resume", out, "--set", "train.total_kimg=0.032") == 0
    assert [row["kimg"] for row in read_rows(out, TRAINING)][-2:] == [0.028, 0.032]


def test_two_processes_log_what_one_logs(config, tmp_path):
    rows = []
    for workers in (1, 2):
        file, out = tmp_path / f"{workers}.yaml", tmp_path / f"out{workers}"
        changes = {"train.log_every_kimg": 0.008, "resources.workers": workers}
        file.write_text(dump_run_config(config(**changes, **{"model.spectral_norm": True})))
        assert call("train", "--config", file, "--out", out, "--wandb", "off") == 0
        rows.append(lasting(read_rows(out, TRAINING)))
    assert len(rows[0]) == len(rows[1]) == 3
    for one, two in zip(*rows, strict=True):
        for name, value in one.items():  # a logit near 0 may change its sign by rounding
            far = 0.05 if name.startswith(("sign", "accuracy")) else 1e-3
            assert two[name] == pytest.approx(value, rel=1e-2, abs=far), name


def test_a_trials_numbers_reach_tensorboard_and_wandb_through_the_driver(tmp_path):
    folder = tmp_path / "trials" / "00000"
    folder.mkdir(parents=True)
    for kimg in (0.5, 1.0, 1.5, 2.0):
        append_row(folder, {"kimg": kimg, "loss/d": 3.0 + kimg}, TRAINING)
    log, board = log_in(tmp_path), TensorBoardNumbers(tmp_path / "trials")
    trial = fake_trial(0)
    log.trial_started(trial)
    for kimg in (1, 2, 2):  # a resumed trial reports old rows once more
        for callback in (log, board):
            callback.trial_reported(trial, result_of(kimg))
    for callback in (log, board):
        callback.trial_ended(trial)
    values = scalars(folder)
    assert values == {
        (f"training/{name}", round(1000 * kimg)): pytest.approx(value)
        for kimg in (0.5, 1.0, 1.5, 2.0)
        for name, value in (("kimg", kimg), ("loss/d", 3.0 + kimg))
    }
    history = read_run(tmp_path, "00000").history
    assert [(row["_step"], row["training/loss/d"]) for row in history] == [
        (500, 3.5),
        (1000, 4.0),
        (1500, 4.5),
        (2000, 5.0),
    ]
    assert [METRIC in row for row in history] == [False, True, False, True]


def test_a_trial_that_continues_earlier_loses_its_later_numbers(tmp_path):
    for kimg in (0.5, 1.0, 1.5):
        append_row(tmp_path, {"kimg": kimg}, TRAINING)
    cut_log(tmp_path, 1.0)
    assert [row["kimg"] for row in read_rows(tmp_path, TRAINING)] == [0.5, 1.0]
    cut_log(tmp_path / "none", 1.0)
    assert not (tmp_path / "none").exists()
