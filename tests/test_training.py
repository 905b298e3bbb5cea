"""One training from the command line: its history, its report, and how it continues."""

import csv
import json
import shutil
import struct
from pathlib import Path

import pytest
import tiny
from command_line import call
from tensorboardX.proto import event_pb2
from wandb_files import no_login, no_process_left, read_run

from fastgan_ray.config.evaluation import EvalConfig
from fastgan_ray.config.run_file import dump_run_config, load_run_config
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.names import shown_name
from fastgan_ray.metrics.weight_files import needed_weights
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.report.data.run_folder import read_run as read_results
from fastgan_ray.tune.trial.training import replacing

__all__ = ["no_login", "no_process_left"]
FD, KD = "fd_efficientnet_lite0", "kd_efficientnet_lite0"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tiny.write_pictures(tmp_path_factory.mktemp("pictures"), 6)


@pytest.fixture(scope="module")
def config(pictures, tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    path.write_text(dump_run_config(tiny.config(**{"data.path": str(pictures)})))
    return path


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    """The folder of a training, and what the command printed."""
    out = tmp_path_factory.mktemp("trained") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WANDB_API_KEY", raising=False)
        assert call("train", "--config", config, "--out", out, "--wandb", "offline") == 0
    return out


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """Return the values in TensorBoard's files by (name, step)."""
    values = {}
    for path in sorted(folder.glob("events.out.tfevents*")):
        data, position = path.read_bytes(), 0
        while position < len(data):
            (length,) = struct.unpack_from("<Q", data, position)
            event = event_pb2.Event.FromString(data[position + 12 : position + 12 + length])
            position += length + 16
            for value in event.summary.value:
                values[value.tag, event.step] = value.simple_value
    return values


def test_a_training_keeps_its_history_like_a_trial(trained, config, pictures):
    rows = read_rows(trained)
    assert [row["kimg"] for row in rows] == [0.008, 0.016]
    assert [row["outcome"] for row in rows] == ["running", "finished"]
    assert load_run_config(trained / "config.yaml") == load_run_config(config)
    assert json.loads((trained / "versions.json").read_text())[0]["Python"]
    with (trained / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [float(line[FD]) for line in table] == [row[FD] for row in rows]
    assert table[0][f"best/{FD}"] == "" and float(table[1][f"best/{FD}"]) == rows[1][f"best/{FD}"]
    board = scalars(trained)
    for row in rows:
        for name in (FD, "loss/d", "images_per_second"):
            assert board[name, round(1000 * row["kimg"])] == pytest.approx(row[name], rel=1e-6)
    run = read_run(trained, "training")
    assert (run.name, run.group, run.job, run.exit_code) == ("out", "out", "training", 0)
    assert run.config["train"]["total_kimg"] == 0.016
    assert [row[FD] for row in run.history] == [row[FD] for row in rows]
    assert all("grid/path" in row for row in run.history)
    assert run.summary["value"] == rows[-1][f"best/{FD}"]
    assert run.summary["best_kimg"] == rows[-1]["best/kimg"]


def test_a_trainings_report_and_comparison(trained, capsys):
    assert call("report", trained) == 0
    page = (trained / "report.html").read_text()
    assert "fastgan-ray training, report of" in page
    assert "Best checkpoint: fd_efficientnet_lite0" in page and "on new latents" in page
    assert page.count('src="data:image') >= 1
    capsys.readouterr()
    assert call("compare", trained, trained, "--json") == 0
    entries = json.loads(capsys.readouterr().out)
    row = read_rows(trained)[-1]
    assert [entry["what"] for entry in entries] == ["training", "training"]
    assert entries[0]["value"] == row[f"best/{FD}"] and entries[0]["metric"] == FD
    assert entries[0]["protocol"]["num_fakes"] == 4
    assert read_results(trained)["trials"][0]["state"] == "finished"


def test_the_metric_asked_for_is_printed_and_others_by_show(config, tmp_path, capsys):
    out = tmp_path / "out"
    options = ("--set", "eval.metric=kd", "--show", "fid", "--show", "loss/d", "--show", "nothing")
    assert call("train", "--config", config, "--out", out, *options, "--wandb", "off") == 0
    printed = capsys.readouterr().out
    for row in read_rows(out):
        line = next(line for line in printed.splitlines() if f"{row['kimg']:.4g} of" in line)
        for name in (KD, FD, "loss/d"):
            assert f"{name} {row[name]:.4g}" in line
        assert "nothing not measured" in line
    assert f"Best checkpoint: {KD}" in printed and "on new latents" in printed
    assert not (out / "wandb").exists()


def test_short_names_of_metrics_are_those_that_the_run_measures():
    embedded, off = EvalConfig(extractor="efficientnet_lite0"), EvalConfig(extractor="none")
    assert [shown_name(name, EvalConfig()) for name in ("fid", "kd")] == [
        "fid5k_full",
        "kid5k_full",
    ]
    assert [shown_name(name, embedded) for name in ("fid", "kid", "kd")] == [FD, KD, KD]
    assert shown_name("recall", embedded) == "recall_k5"
    assert shown_name("loss/d", embedded) == "loss/d" and shown_name("kid", off) == "kid"


def test_a_training_continues_without_its_configuration(config, tmp_path, capsys):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    off = ("--wandb", "off")
    assert call("train", "--config", config, "--out", whole, *off) == 0
    half = ("--set", "train.total_kimg=0.008")
    assert call("train", "--config", config, "--out", parts, *half, *off) == 0
    capsys.readouterr()
    assert call("train", "--resume", parts, "--set", "train.total_kimg=0.016", *off) == 0
    printed = capsys.readouterr().out
    assert "Continuing at 0.008 of 0.016 kimg" in printed
    assert "train.total_kimg 0.008 -> 0.016" in printed
    assert (
        "Settings that --set may change: data.path, " in printed and "train.total_kimg" in printed
    )
    for name in ("checkpoint-000000016", "checkpoint-best"):
        files = [folder / name / "ema.safetensors" for folder in (whole, parts)]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert [row["kimg"] for row in read_rows(parts)] == [0.008, 0.016]
    assert read_rows(parts)[-1]["outcome"] == "finished"
    assert load_run_config(parts / "config.yaml").train.total_kimg == 0.016
    assert call("train", "--resume", parts, "--set", "train.lr_g=0.1") == 2
    told = capsys.readouterr().err
    assert "train.lr_g is 0.0002 in the checkpoint and 0.1 now" in told


def test_overwrite_replaces_a_training_but_nothing_else(config, tmp_path, capsys):
    out, off = tmp_path / "out", ("--wandb", "off")
    command = ("train", "--config", config, "--out", out, *off)
    assert call(*command) == 0
    (out / "mark").touch()
    assert call(*command) == 2
    assert "replace it with --overwrite" in capsys.readouterr().err
    assert call(*command, "--overwrite", "--set", f"data.path={tmp_path / 'none'}") == 2
    assert (out / "mark").exists() and len(read_rows(out)) == 2  # the old training came back
    assert call(*command, "--overwrite") == 0
    assert not (out / "mark").exists() and len(read_rows(out)) == 2
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").touch()
    assert call("train", "--config", config, "--out", other, "--overwrite", *off) == 2
    assert "replaces only a training" in capsys.readouterr().err and (other / "file").exists()
    # A training that ended before its first checkpoint can be replaced, too.
    for path in [*out.glob("checkpoint-*"), out / "metrics.jsonl"]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert call(*command) == 2
    told = capsys.readouterr().err
    assert "Replace it with --overwrite" in told and "--resume" not in told
    # If the process that replaces a training was killed, the old training returns.
    aside = tmp_path / ".out.replaced.draft"
    aside.mkdir()
    (aside / "config.yaml").write_text("of the old training")
    with pytest.raises(ZeroDivisionError), replacing(out):
        raise ZeroDivisionError
    assert (out / "config.yaml").read_text() == "of the old training"
    assert call(*command, "--overwrite") == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (("a",), "can be given only with --resume"),
        (("a", "--resume", "--out", "b"), "continues in its own folder"),
        (
            ("--resume", "--overwrite", "--out", "b"),
            "because --overwrite replaces the training and --resume continues it",
        ),
    ],
)
def test_options_that_contradict_each_other(arguments, rule, capsys):
    assert call("train", *arguments) == 2
    assert rule in capsys.readouterr().err


def test_a_training_that_cannot_start_leaves_no_folder(config, tmp_path):
    out = tmp_path / "out"
    wrong = ("--set", f"data.path={tmp_path / 'none'}")
    assert call("train", "--config", config, "--out", out, *wrong, "--wandb", "off") == 2
    assert not out.exists() or not any(out.iterdir())


def test_which_chooses_the_checkpoint(trained, tmp_path, capsys):
    for which in ("best", "last"):
        options = ("--which", which, "--out", tmp_path / f"{which}.png", "--seeds", "0-3")
        assert call("sample", trained, *options) == 0
    last = sorted(trained.glob("checkpoint-0*"))[-1]
    assert call("sample", last, "--out", tmp_path / "same.png", "--seeds", "0-3") == 0
    assert (tmp_path / "same.png").read_bytes() == (tmp_path / "last.png").read_bytes()


@pytest.fixture(scope="module")
def drawn(pictures, tmp_path_factory):
    """The folder of a training that measures nothing."""
    folder = tmp_path_factory.mktemp("drawn")
    settings = {"data.path": str(pictures), "eval.extractor": "none"}
    (folder / "run.yaml").write_text(dump_run_config(tiny.config(**settings)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastgan_ray.train.evaluation.evaluate", None)  # is not needed
        command = ("train", "--config", folder / "run.yaml", "--out", folder / "out")
        assert call(*command, "--wandb", "off") == 0
    return folder / "out"


def test_a_training_may_draw_pictures_and_measure_nothing(drawn, capsys):
    rows = read_rows(drawn)
    assert len(rows) == 2 and all(Path(row["grid"]).is_file() for row in rows)
    assert rows[-1]["loss/d"] != 0 and "drift" in rows[-1]
    assert not [name for name in rows[-1] if name.startswith(("fd", "kd", "best/", "precision"))]
    assert [path.name for path in drawn.glob("checkpoint-*")] == ["checkpoint-000000016"]
    assert call("report", drawn) == 0
    assert "without measurements" in (drawn / "report.html").read_text()
    assert call("sample", drawn, "--out", drawn / "x.png", "--seeds", "0-3") == 0
    capsys.readouterr()
    assert call("compare", drawn) == 2
    assert "nothing was measured (eval.extractor is none)" in capsys.readouterr().err
    assert call("evaluate", drawn) == 2
    assert "eval.extractor is none, so nothing can be measured" in capsys.readouterr().err
    assert call("evaluate", drawn, "--embedded", "--set", "eval.num_fakes=4") == 0


def test_pictures_without_metrics_need_no_weights():
    settings = tiny.config(**{"eval.extractor": "none"})
    assert needed_weights(settings) == []


@pytest.mark.parametrize("file", ["demo", "ablation_demo"])
def test_a_search_and_an_ablation_without_a_metric_are_refused(file, tmp_path, capsys):
    path = Path(__file__).parent.parent / "search_spaces" / f"{file}.yaml"
    command = "ablate" if "ablation" in file else "tune"
    options = ("--runs", tmp_path, "--dry-run")
    assert call(command, "--config", path, "--set", "eval.extractor=none", *options) == 2
    assert "cannot be measured, because eval.extractor is none" in capsys.readouterr().err
    copy = tmp_path / "copy.yaml"
    copy.write_text(path.read_text().replace("efficientnet_lite0", "none"))
    assert call(command, "--config", copy, *options) == 2
    assert "cannot be measured, because eval.extractor is none" in capsys.readouterr().err


def test_a_setting_that_is_given_twice_is_refused(config, tmp_path, capsys):
    common = ("train", "--config", config, "--out", tmp_path / "out", "--wandb", "off")
    assert call(*common, "--init-from", "a", "--set", "train.init_from=b") == 2
    assert "train.init_from: is set twice, to a and to b" in capsys.readouterr().err
    assert call(*common, "--data", "matcaps", "--set", "data.path=fluent-heads") == 2
    assert "data.path: is set twice, to matcaps and to fluent-heads" in capsys.readouterr().err


def test_the_folder_in_which_the_command_runs_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="cannot replace the folder in which"), replacing(Path()):
        pass
    assert (tmp_path / "config.yaml").is_file()


def test_a_link_to_the_folder_of_a_training_stays(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    (real / "config.yaml").write_text("{}")
    link.symlink_to(real)
    with replacing(link):
        (link / "new.txt").write_text("")
    assert link.is_symlink() and (real / "new.txt").is_file()
    assert not list(tmp_path.glob(".*.draft")) and not (real / "config.yaml").exists()
