"""The commands as a user meets them: what they print, and that bad input is one clear message."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from command_line import call
from PIL import Image
from safetensors.torch import load_file, save_file

from fastgan_ray.api.training import cores_hint
from fastgan_ray.cli import main as cli_main
from fastgan_ray.cli.detach import DETACHED
from fastgan_ray.cli.terminal import print_table
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.run_file import dump_run_config, load_run_config
from fastgan_ray.errors import InterruptedRunError
from fastgan_ray.models import build_discriminator, build_generator
from fastgan_ray.models.published_checkpoint import save_published

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tiny.write_pictures(tmp_path_factory.mktemp("pictures"), 5)


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    file = folder / "run.yaml"
    file.write_text(dump_run_config(tiny.config()))
    out = folder / "out"
    assert call("train", "--config", file, "--data", pictures, "--out", out) == 0
    return out


def test_train_writes_a_checkpoint_and_says_how_good_it_is(trained, capsys):
    assert (trained / "checkpoint-000000016" / "metadata.json").is_file()
    assert (trained / "grids" / "000000016.png").is_file()


def test_train_goes_on_where_it_stopped(trained, pictures, tmp_path, capsys):
    file = tmp_path / "run.yaml"
    file.write_text(dump_run_config(tiny.config()))
    common = ("train", "--config", file, "--data", pictures, "--out", tmp_path / "out")
    assert call(*common, "--set", "train.total_kimg=0.008") == 0
    assert call(*common) == 2
    assert "already exists" in capsys.readouterr().err
    assert call(*common, "--resume") == 0
    ends = [folder / "checkpoint-000000016" for folder in (trained, tmp_path / "out")]
    first, second = ((end / "ema.safetensors").read_bytes() for end in ends)
    assert first == second


def test_evaluate_repeats_the_number_that_training_reported(trained, capsys):
    assert call("evaluate", trained, "--which", "last", "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)
    metadata = json.loads((trained / "checkpoint-000000016" / "metadata.json").read_text())
    name = "fd_efficientnet_lite0"
    assert result["metrics"][name] == pytest.approx(metadata["metrics"][name], rel=1e-4)
    assert result["protocol"] == metadata["protocol"]


def test_evaluate_against_other_pictures(trained, tmp_path, capsys):
    for index in range(3):
        Image.new("RGB", (8, 8), (index * 100, 0, 0)).save(tmp_path / f"{index}.png")
    assert call("evaluate", trained, "--data", tmp_path) == 0
    shown = capsys.readouterr().out
    assert "reference_count: 3" in shown and " ± " in shown and "_se_fakes" not in shown


def test_evaluate_ranks_generators_of_one_protocol_alone(trained, tmp_path, pictures, capsys):
    file, other = tmp_path / "run.yaml", tmp_path / "other"
    settings = {"train.seed": 5, "eval.num_fakes": 5}
    file.write_text(dump_run_config(tiny.config(**settings)))
    assert call("train", "--config", file, "--data", pictures, "--out", other) == 0
    capsys.readouterr()
    assert call("evaluate", trained, other) == 2
    error = capsys.readouterr().err
    assert "number of generated pictures: 5 against 4" in error and "--set eval." in error
    assert call("evaluate", other, trained, "--set", "eval.num_fakes=4", "--json") == 0
    ranked = json.loads(capsys.readouterr().out)
    values = [result["metrics"]["fd_efficientnet_lite0"] for result in ranked]
    assert values == sorted(values) and ranked[0]["protocol"] == ranked[1]["protocol"]
    assert {result["checkpoint"] for result in ranked} == {str(trained), str(other)}


def test_evaluate_ranks_by_the_metric_of_the_searches(trained, tmp_path, capsys):
    def order(*more):
        assert call("evaluate", *trials, "--json", *more) == 0
        results = json.loads(capsys.readouterr().out)
        return results[0]["by"], [result["metrics"][results[0]["by"]] for result in results]

    trials = [tmp_path / name / "trials" / "00000" for name in ("a", "b")]
    for number, trial in enumerate(trials):
        shutil.copytree(trained / "checkpoint-000000016", trial / "checkpoint-000000016")
        path = trial / "checkpoint-000000016" / "ema.safetensors"
        weights = load_file(path)
        for name in weights:
            if number and name.endswith("weight"):
                weights[name] = weights[name] * 0.5
        save_file(weights, path)
    assert order()[0] == "fd_efficientnet_lite0"
    for trial in trials:
        account = {"metric": {"name": "kd_efficientnet_lite0", "goal": "minimize"}}
        (trial.parents[1] / "summary.json").write_text(json.dumps(account))
    assert order()[0] == "fd_efficientnet_lite0"  # files of this name may be another program's
    for trial in trials:
        (trial.parents[1] / "search.yaml").touch()
    by, values = order()
    assert by == "kd_efficientnet_lite0" and values == sorted(values)
    (trials[0].parents[1] / "summary.json").unlink()
    assert order("--by", "fd_efficientnet_lite0")[0] == "fd_efficientnet_lite0"
    assert call("evaluate", *trials, "--by", "speed") == 2
    assert "--by: must be one of fd_efficientnet_lite0" in capsys.readouterr().err


def test_more_pictures_than_any_memory_holds_are_refused(trained, capsys):
    assert call("evaluate", trained, "--set", "eval.num_fakes=1000000000") == 2
    assert "eval.num_fakes: must be at most 1000000 (got 1000000000)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("8 GiB"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes.\nC++ frames"),
    ],
)
def test_a_full_memory_is_a_sentence(trained, monkeypatch, capsys, error):
    def fail(*arguments, **more):
        raise error

    monkeypatch.setattr("fastgan_ray.latent.measure.evaluate", fail)
    assert call("evaluate", trained) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: out of memory (") and "Lower the resolution" in shown
    assert "C++ frames" not in shown


def test_sample_gives_the_same_picture_for_a_seed_in_a_grid_or_alone(trained, tmp_path, capsys):
    assert call("sample", trained, "--seeds", "0-3,7", "--out", tmp_path / "one") == 0
    assert call("sample", trained, "--seeds", "7", "--out", tmp_path / "two") == 0
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == [f"seed{seed:06d}.png" for seed in (0, 1, 2, 3, 7)]
    with (
        Image.open(tmp_path / "one" / "seed000007.png") as first,
        Image.open(tmp_path / "two" / "seed000007.png") as second,
    ):
        # Convolutions of another batch size may round otherwise: by a level, no more.
        difference = np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int))
        assert difference.max() <= 1
    assert call("sample", trained, "--out", tmp_path / "grid.png") == 0
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (6 * 34 - 2, 6 * 34 - 2)


def test_a_published_checkpoint_can_be_sampled_and_measured(tmp_path, pictures, capsys):
    section = {"resolution": 256, "ngf": 8, "ndf": 8, "nz": 16, "output_activation": "none"}
    model = RunConfig.model_validate({"model": section}).model
    generator = build_generator(model, torch.Generator().manual_seed(0))
    save_published(tmp_path / "all_1000.pth", generator, build_discriminator(model))
    assert call("sample", tmp_path / "all_1000.pth", "--seeds", "0", "--out", tmp_path) == 0
    assert call("evaluate", tmp_path / "all_1000.pth", "--embedded") == 2
    assert "give the path with --data" in capsys.readouterr().err
    command = ("evaluate", tmp_path / "all_1000.pth", "--embedded", "--data", pictures, "--json")
    assert call(*command, "--set", "eval.num_fakes=4") == 0
    assert "fd_efficientnet_lite0" in json.loads(capsys.readouterr().out)[0]["metrics"]


@pytest.mark.parametrize(
    "file", sorted((ROOT / "search_spaces").glob("*.yaml")), ids=lambda p: p.stem
)
def test_check_needs_no_data_and_shows_a_plan(file, capsys):
    assert call("check", file) == 0
    out = capsys.readouterr().out
    assert "the file is valid" in out
    assert ("baseline" if "ablation" in file.stem else "model.ngf") in out
    assert "cost" in out


@pytest.mark.parametrize("name", ["demo", "ablation_demo"])
def test_check_prints_the_plan_as_json_too(name, capsys):
    assert call("check", ROOT / "search_spaces" / f"{name}.yaml", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    (data,) = facts["data"]
    sizes, metric = data.pop("advice")
    assert "need no enlargement at 128 px" in sizes and "198 pictures" in metric
    known = {"path": "fluent-heads", "pictures": 198, "note": "", "error": "", "remarks": []}
    assert data == known
    assert facts["kind"] == ("ablation" if "ablation" in name else "search")
    assert facts["hours_of_rtx_2080_ti"] > 0 and facts["metric"]["goal"] == "minimize"


def test_check_takes_a_run_configuration_too(tmp_path, capsys):
    (tmp_path / "run.yaml").write_text("model: {ngf: 8}\ndata.path: matcaps\n")
    assert call("check", tmp_path / "run.yaml") == 0
    assert "284 pictures in matcaps" in capsys.readouterr().out
    assert call("check", tmp_path / "run.yaml", "--json") == 0
    assert json.loads(capsys.readouterr().out)["data"][0]["pictures"] == 284
    (tmp_path / "run.yaml").write_text("model: {ngff: 8}\n")
    assert call("check", tmp_path / "run.yaml") == 2
    assert "run.yaml:1: model.ngff" in capsys.readouterr().err


def no_such_folder(folder):
    return folder / "nowhere"


def one_picture(folder):
    return tiny.write_pictures(folder, 1)


def the_same_picture_thrice(folder):
    for number in range(3):
        Image.new("RGB", (8, 8), "red").save(folder / f"{number}.png")
    return folder


def a_damaged_picture(folder):
    tiny.write_pictures(folder, 2)
    (folder / "bad.png").write_bytes(b"no picture")
    return folder


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (no_such_folder, "nowhere"),
        (one_picture, "at least 2 usable pictures"),
        (the_same_picture_thrice, "all 3 pictures are the same"),
        (a_damaged_picture, "bad.png"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ("check", ROOT / "search_spaces/fewshot.yaml"),
        ("check", ROOT / "search_spaces/fewshot.yaml", "--json"),
        ("check", ROOT / "search_spaces/ablation_demo.yaml"),
        ("tune", "--config", ROOT / "search_spaces/fewshot.yaml", "--dry-run"),
        ("ablate", "--config", ROOT / "search_spaces/ablation_demo.yaml", "--dry-run"),
        ("train", "--dry-run"),
    ],
    ids=lambda command: " ".join(Path(word).name for word in command),
)
def test_data_that_cannot_be_used_is_an_error_before_the_start(
    make, words, command, tmp_path, capsys
):
    (tmp_path / "pictures").mkdir()
    assert call(*command, "--data", make(tmp_path / "pictures")) == 2
    printed = capsys.readouterr()
    assert words in " ".join(printed.err.split())
    assert "valid" not in printed.out and "model:" not in printed.out


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("command", ["tune", "ablate", "train"])
@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=str)
def test_devices_and_resources_that_do_not_exist_are_refused_at_once(
    command, more, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("ray.init", lambda *_, **__: pytest.fail("Ray has started"))
    monkeypatch.chdir(tmp_path)
    file = "demo" if command == "tune" else "ablation_demo"
    config = () if command == "train" else ("--config", ROOT / f"search_spaces/{file}.yaml")
    common = (command, *config, *more, "--embedded", "--data", "matcaps")
    assert call(*common, "--set", "train.device=cuda") == 2
    assert "cuda is not available on this machine (available: cpu)" in capsys.readouterr().err
    if command != "train":
        assert call(*common, "--set", "resources.cpus=9999") == 2
        assert "needs 9999 CPUs" in " ".join(capsys.readouterr().err.split())
    assert call(*common, "--set", "resources.gpus=1") == 2
    words = "this machine has no GPU" if command == "train" else "no machine has that"
    assert words in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.glob("runs/demo")) + list(tmp_path.glob("runs/ablation*"))


@pytest.mark.parametrize(
    ("threads", "words"),
    [(4, ""), (1, "1 of this machine's 4 CPU cores"), (9, "9 threads on 4 CPU cores")],
)
def test_a_training_says_if_its_threads_do_not_fit_the_cores(threads, words, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    run = tiny.config(**{"train.device": "cpu", "resources.cpus": threads})
    assert words in cores_hint(run) and bool(words) == bool(cores_hint(run))


def test_the_embedded_switch_renames_the_metric(capsys):
    assert call("check", ROOT / "search_spaces/fewshot.yaml", "--embedded") == 0
    assert "kd_efficientnet_lite0" in capsys.readouterr().out


def test_data_lists_the_catalog(capsys):
    assert call("data", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["fluent-heads"]["images"] == 198
    assert rows["matcaps"]["available"]
    assert "100-shot-obama" in rows


@pytest.mark.parametrize("command", ["data", "presets"])
def test_names_in_a_table_are_whole_at_80_columns(command, capsys):
    assert call(command, "--json") == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)]
    assert call(command) == 0
    assert set(names) <= set(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["trial 00000 (the published default)", "x" * 90])
def test_no_column_of_a_table_is_cut_off_at_80_columns(name, capsys):
    metrics = ["fd_efficientnet_lite0", "kd_efficientnet_lite0", "another_metric"]
    print_table(["", "votes won", "strength", *metrics], [[name, "5 of 5", "+1.74", *"123"]])
    lines = capsys.readouterr().out.splitlines()
    assert {len(line) for line in lines} == {80}
    assert all(line[0] in "┏┃┡│└" and line[-1] in "┓┃┩│┘" for line in lines)
    (first,) = (line for line in lines if "+1.74" in line)
    assert [cell.strip() for cell in first.split("│")[3:-1]] == ["+1.74", *"123"]
    assert "x" in name or name in first


def test_the_table_of_arms_is_not_cut_off_at_80_columns(capsys):
    assert call("check", "ablation_sle_1024") == 0
    printed = capsys.readouterr().out
    assert "h/10k" in printed and "…" not in printed


def test_dry_run_of_a_training_prints_a_configuration_that_loads(tmp_path, capsys):
    assert call("train", "--dry-run", "--set", "model.ngf=8") == 0
    printed = capsys.readouterr()
    assert "data: not set" in printed.err
    (tmp_path / "run.yaml").write_text(printed.out)
    assert load_run_config(tmp_path / "run.yaml").model.ngf == 8


def bad_yaml(folder: Path) -> Path:
    file = folder / "bad.yaml"
    file.write_text(
        "name: bad\nmethod: bayes\nmetric: {name: fid, goal: minimize}\nparameters:\n"
        "  model.ngf: {values: [16]}\n  train.beta1: {min: 0.1, max: 1.2}\n"
        "  train.lrg: {value: 1}\n"
    )
    return file


def file_instead(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file" / "out"


BAD = {
    "yaml": (
        lambda folder, trained: ("check", bad_yaml(folder)),
        ["bad.yaml:6: train.beta1", "less than 1", "1.2", "bad.yaml:7: train.lrg", "train.lr_g"],
    ),
    "no file": (lambda f, t: ("tune", "--config", f / "no.yaml"), ["no.yaml"]),
    "a folder for a file": (lambda f, t: ("check", f), ["folder"]),
    "no pictures": (
        lambda f, t: ("train", "--embedded", "--data", f, "--out", f / "o"),
        ["no pictures"],
    ),
    "no folder": (
        lambda f, t: ("train", "--embedded", "--data", f / "nowhere", "--out", f / "o"),
        ["nowhere"],
    ),
    "no data": (lambda f, t: ("train", "--embedded", "--out", f / "o"), ["data.path"]),
    "resolution": (
        lambda f, t: ("train", "--set", "model.resolution=100"),
        ["model.resolution", "power of two", "100"],
    ),
    "unknown key": (lambda f, t: ("train", "--set", "model.ngff=8"), ["model.ngff", "model.ngf"]),
    "type": (lambda f, t: ("train", "--set", "model.ngf=lots"), ["model.ngf", "lots"]),
    "unwritable": (
        lambda f, t: ("train", "--embedded", "--data", "matcaps", "--out", file_instead(f)),
        ["cannot be written"],
    ),
    "a search without data": (
        lambda f, t: (
            *("tune", "--config", ROOT / "search_spaces/demo.yaml", "--runs", f),
            *("--data", f / "nowhere"),
        ),
        ["nowhere"],
    ),
    "a search in no folder": (
        lambda f, t: (
            *("tune", "--config", ROOT / "search_spaces/demo.yaml"),
            *("--runs", file_instead(f)),
        ),
        ["cannot be written", "--runs"],
    ),
    "no search to resume": (
        lambda f, t: (
            *("tune", "--config", ROOT / "search_spaces/demo.yaml", "--runs", f, "--resume"),
        ),
        ["no search to resume"],
    ),
    "no checkpoint": (lambda f, t: ("sample", f / "none"), ["no such file or folder"]),
    "an empty folder": (lambda f, t: ("sample", f), ["no checkpoint found"]),
    "seeds": (lambda f, t: ("sample", t, "--seeds", "a-b"), ["--seeds", "a-b"]),
    "a picture of another kind": (
        lambda f, t: ("sample", t, "--seeds", "0", "--out", f / "x.jpg"),
        ["--out", ".png"],
    ),
    "pictures nowhere": (
        lambda f, t: ("sample", t, "--seeds", "0", "--out", file_instead(f)),
        ["--out", "cannot be written"],
    ),
    "another model": (
        lambda f, t: ("evaluate", t, "--set", "model.ngf=8"),
        ["model.ngf", "cannot be changed"],
    ),
    "a name that is a path": (
        lambda f, t: (
            *("tune", "--config", ROOT / "search_spaces/demo.yaml", "--name", "../x"),
            *("--runs", f),
        ),
        ["--name", "../x"],
    ),
    "nothing to resume": (
        lambda f, t: ("train", "--embedded", "--data", "matcaps", "--resume", "--out", f / "o"),
        ["there is no training to resume"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_message_and_status_2(case, tmp_path, trained, capsys):
    arguments, expected = BAD[case]
    assert call(*arguments(tmp_path, trained)) == 2
    printed = capsys.readouterr()
    message = " ".join(printed.err.split())
    assert all(words in message for words in expected), message
    assert "Traceback" not in printed.err + printed.out
    assert not (tmp_path / "demo").exists()  # the corrected command can use the name


def test_a_shell_completes_commands():
    asked = {"_FASTGAN_RAY_COMPLETE": "complete_bash", "COMP_WORDS": "fastgan-ray wei"}
    environment = {**os.environ, **asked, "COMP_CWORD": "1"}
    command = [sys.executable, "-m", "fastgan_ray"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["weights"]


def test_a_truncated_published_checkpoint_is_refused(tmp_path, capsys):
    (tmp_path / "x.pth").write_bytes(b"PK\x03\x04 not really")
    assert call("sample", tmp_path / "x.pth") == 2
    assert "damaged" in capsys.readouterr().err


def test_missing_inception_says_what_to_put_where(tmp_path, pictures, capsys, monkeypatch):
    monkeypatch.setenv("FASTGAN_RAY_WEIGHTS_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(tmp_path / "cache"))
    assert call("train", "--data", pictures, "--out", tmp_path / "out") == 2
    message = " ".join(capsys.readouterr().err.split())
    for words in ("inception-2015-12-05.pt", "vgg16-397923af.pth", "--embedded"):
        assert words in message
    assert not (tmp_path / "out").exists()


def test_an_interrupted_search_has_the_shells_status_and_says_how_to_go_on(monkeypatch, capsys):
    def stopped(*arguments: object) -> None:
        raise InterruptedRunError("runs/demo is not finished", 143)

    monkeypatch.setattr("fastgan_ray.tune.search.run_search", stopped)
    file = ROOT / "search_spaces" / "demo.yaml"
    name = ["--name", "a b"]
    for options in (name, [*name, "--resume"], ["--from", "runs/other", *name]):
        assert call("tune", "--config", file, *options) == 143
        command = f"fastgan-ray tune --config {file} --name 'a b' --resume\n"
        assert capsys.readouterr().err.endswith(command)


def test_a_folder_without_a_best_names_its_trials(trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "ablation" / "trials" / "00000")
    assert call("evaluate", tmp_path / "ablation") == 2
    assert "give the folder of a trial, e.g." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "preset", "function"),
    [
        ("tune", "demo", "fastgan_ray.tune.search.run_search"),
        ("ablate", "ablation_demo", "fastgan_ray.tune.ablation.run_ablation"),
    ],
)
def test_a_background_process_tells_the_run_that_it_is_detached(
    command, preset, function, monkeypatch
):
    options = []
    monkeypatch.setattr(function, lambda spec, given: options.append(given))
    monkeypatch.setenv(DETACHED, "1")
    assert call(command, "--config", preset) == 0
    assert [given.detached for given in options] == [True]


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["confirm", "runs/demo"], "fastgan-ray confirm runs/demo"),
        (["tune", "--config", "demo"], "fastgan-ray tune --config demo --resume"),
        (["tune", "--from=runs/a", "--name", "b"], "fastgan-ray tune --name b --resume"),
        (["tune", "--from", "runs/a", "--resume"], "fastgan-ray tune --resume"),
    ],
)
def test_the_command_that_continues_exists(words, command, monkeypatch, capsys):
    def stopped(**options):
        raise InterruptedRunError("Stopped", 130)

    monkeypatch.setattr(cli_main, "app", stopped)
    assert call(*words) == 130
    assert capsys.readouterr().err.splitlines()[-1] == command


def test_a_dry_run_checks_the_earlier_search(tmp_path, capsys):
    assert call("tune", "--config", "demo", "--from", tmp_path, "--dry-run") == 2
    assert "has no summary.json" in capsys.readouterr().err
