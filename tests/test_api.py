"""Searches, ablations and trainings from Python: what goes in, what comes out, and bad input."""

import functools
import io
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import report_runs
import tiny
import torch
import tune_objectives as objectives
from command_line import call
from PIL import Image

import fastgan_ray
from fastgan_ray import read_results, run_ablation, run_search, run_training
from fastgan_ray.api.pictures import data_path
from fastgan_ray.api.search import read_search
from fastgan_ray.api.settings import changes
from fastgan_ray.config.data import DataConfig
from fastgan_ray.config.run_config import RunConfig, flatten
from fastgan_ray.config.run_file import load_run_config
from fastgan_ray.data.source import open_source
from fastgan_ray.errors import FailedRunError, UserError
from fastgan_ray.tune import search
from fastgan_ray.tune.ray.session import connected

FD = "fd_efficientnet_lite0"
BASE = {
    "model": {"resolution": 32, "nz": 8, "ngf": 4, "ndf": 4, "decoder_width": 2},
    "train": {"batch_size": 4, "total_kimg": 0.016, "reconstruction": "l1"},
    "eval": {"extractor": "efficientnet_lite0", "num_fakes": 4, "every_kimg": 0.008},
}
SEARCH = {
    "name": "mine",
    "method": "random",
    "metric": {"name": FD},
    "run_cap": 2,
    "confirm": False,
    "base": {**BASE, "model": {k: v for k, v in BASE["model"].items() if k != "ngf"}},
    "parameters": {"model.ngf": {"values": [2, 4]}},
}
ABLATION = {
    "name": "arms",
    "metric": {"name": FD},
    "baseline": "with",
    "seeds": 2,
    "base": BASE,
    "arms": {"with": None, "without": {"model.g_sle_4": False}},
}
OFF = {"wandb": "off", "quiet": True}


def clouds(count=6, seed=0):
    """Made-up pictures as an array (N, 40, 40, 3)."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((40, 40))) for one in small])


@pytest.fixture(scope="module")
def ray_session():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        with connected(None):
            yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "one"
    return run_training(tiny.SETTINGS, clouds(), out=out, **OFF)


@pytest.fixture(scope="module")
def searched(ray_session, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    return run_search(SEARCH, clouds(), runs=runs, max_concurrent=1, **OFF)


@pytest.fixture(scope="module")
def ablated(ray_session, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    return run_ablation(ABLATION, clouds(), seeds=[1], runs=runs, max_concurrent=1, **OFF)


class TestData:
    def test_an_array_and_a_list_are_the_pictures_of_a_folder(self, tmp_path):
        array = clouds(3)
        pictures = [Image.fromarray(one) for one in array]
        for index, picture in enumerate(pictures):
            picture.save(tmp_path / f"{index}.png")
        sources = [
            open_source(DataConfig(path=data_path(data))) for data in (array, pictures, tmp_path)
        ]
        for index in range(3):
            for source in sources:
                assert np.array_equal(np.asarray(source.read(index)), array[index])

    def test_the_same_pictures_have_one_place_and_others_another(self):
        array = clouds(3)
        assert data_path(array) == data_path(array.copy()) != data_path(array[:, ::-1])
        pictures = [Image.fromarray(one) for one in array]
        assert data_path(pictures) == data_path(list(pictures)) != data_path(pictures[::-1])

    def test_a_torch_tensor_is_an_array(self):
        array = clouds(2)
        assert data_path(torch.from_numpy(array)) == data_path(array)

    def test_orientation_profile_palette_and_sizes_stay(self):
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by a quarter
        first = Image.fromarray(clouds(1)[0][:20])
        upright = first.transpose(Image.Transpose.ROTATE_270)
        with Image.open(_jpeg(first, exif)) as turned:
            palette = upright.quantize(8)
            source = open_source(DataConfig(path=data_path([turned, palette])))
        assert source.read(0).size == upright.size == (20, 40)
        assert np.array_equal(np.asarray(source.read(1)), np.asarray(palette.convert("RGB")))

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (clouds(2).astype(float), "must be uint8"),
            (clouds(1), "N at least 2"),
            (clouds(1)[0], r"N, H, W, 3.*got the shape \(40, 40, 3\)"),
            (clouds(2)[:, 0], "must have the shape|got the shape"),
            ([Image.new("RGB", (8, 8))], r"must have at least 2 pictures \(got 1\)"),
            ([Image.new("RGB", (8, 8)), "a.png"], "got str at index 1"),
            (list(clouds(2)), "got ndarray at index 0; use numpy.stack"),
            ([Image.new("CMYK", (8, 8))] * 2, r'index 0 cannot be used.*convert\("RGB"\)'),
            (Image.new("RGB", (8, 8)), "got a single picture"),
            (7, r"got int\)"),
        ],
        ids=range(10),
    )
    def test_other_things_are_refused(self, data, message):
        with pytest.raises(UserError, match=message) as error:
            data_path(data)
        assert str(error.value).startswith("data: ")


def _jpeg(picture, exif):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", exif=exif)
    buffer.seek(0)
    return buffer


class TestTraining:
    def test_its_results(self, trained):
        assert trained.kind == "training" and trained.metric == FD and trained.goal == "minimize"
        assert list(trained.rows.kimg) == [0.008, 0.016]
        assert list(trained.trials.state) == ["finished"]
        best = trained.best
        assert best.folder == trained.folder and best.name == "one"
        assert best.value == trained.rows[f"best/{FD}"].iloc[-1]
        assert best.kimg == trained.rows["best/kimg"].iloc[-1]
        assert best.settings["model.resolution"] == 32 and "train.beta2" not in best.settings
        assert best.config == load_run_config(trained.folder / "config.yaml")
        assert trained.generator(device="cpu").sample(range(3)).shape == (3, 32, 32, 3)
        assert trained.generator(which="last").nz == 8
        assert trained.arms.empty

    def test_it_is_what_the_command_does(self, trained, tmp_path):
        options = [f"--set={key}={value}" for key, value in tiny.SETTINGS.items()]
        out = tmp_path / "command"
        data = trained.best.config.data.path
        assert call("train", "--data", data, "--out", out, *options, "--wandb", "off") == 0
        assert load_run_config(out / "config.yaml") == trained.best.config
        same = read_results(out)
        names = [FD, f"best/{FD}", "loss/d", "kimg"]
        pd.testing.assert_frame_equal(same.rows[names], trained.rows[names])

    def test_it_says_nothing_if_quiet_and_what_the_command_says_else(
        self, trained, tmp_path, capfd
    ):
        config, out = trained.best.config, tmp_path / "out"
        run_training(config, settings={"train": {"total_kimg": 0.008}}, out=out, **OFF)
        assert capfd.readouterr() == ("", "")
        longer = {"train.total_kimg": np.float64(0.012)}
        run_training(settings=longer, out=out, resume=True, wandb="off", show=["loss/d"])
        printed = capfd.readouterr().out
        assert "Continuing at 0.008 of 0.012 kimg, with train.total_kimg 0.008 -> 0.012" in printed
        assert "loss/d" in printed and f"Results: {out}" in printed
        assert list(read_results(out).rows.kimg) == [0.008, 0.012]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"settings": {"train.lr": 1.0}}, "settings: train.lr: is not a known setting"),
            ({"settings": {"train": {"beta1": 2}}}, "settings: train.beta1: must be less than 1"),
            ({"config": {"model.ngf": "wide"}}, "model.ngf: must be a whole number"),
            ({"config": "missing.yaml"}, "missing.yaml: cannot be read"),
            ({"data": "nowhere"}, "'nowhere' is none of these"),
            ({"wandb": "maybe"}, "wandb: must be one of auto, online, offline, off"),
            ({"resume": True}, "there is no training to resume"),
            ({"resume": True, "overwrite": True}, "--overwrite replaces the training"),
        ],
        ids=range(8),
    )
    def test_bad_input_is_an_error_before_anything_starts(
        self, arguments, message, tmp_path, capfd
    ):
        with pytest.raises(UserError, match=message):
            run_training(out=tmp_path / "out", **{"config": tiny.SETTINGS, **OFF, **arguments})
        assert not (tmp_path / "out" / "config.yaml").exists()
        assert capfd.readouterr() == ("", "")

    def test_a_folder_in_use_is_not_mixed_with_another_training(self, trained):
        with pytest.raises(UserError, match="already exists"):
            run_training(tiny.SETTINGS, clouds(), out=trained.folder, **OFF)


class TestSearch:
    def test_its_results(self, searched):
        summary = json.loads((searched.folder / "summary.json").read_text())
        assert searched.kind == "search" and dict(searched.summary) == summary
        assert sorted(searched.trials["model.ngf"]) == [2, 4]
        best = searched.best
        assert best.value == searched.trials.value.min() == summary["best"]["value"]
        row = searched.trials.set_index("trial").loc[best.name]
        assert best.settings == {"model.ngf": row["model.ngf"]}
        assert best.config.model.ngf == best.settings["model.ngf"]
        assert best.folder == searched.folder / "best"
        assert set(searched.rows.trial) == {"00000", "00001"} and FD in searched.rows
        assert searched.generator(device="cpu").sample([0]).shape == (1, 32, 32, 3)

    def test_its_best_can_be_trained_for_longer(self, searched, tmp_path):
        longer = run_training(
            searched.best.config, settings={"train.total_kimg": 0.02}, out=tmp_path / "o", **OFF
        )
        assert longer.best.config.model == searched.best.config.model
        assert longer.rows.kimg.iloc[-1] == 0.02

    def test_it_continues_and_refuses_another_file(self, searched):
        runs = searched.folder.parent
        again = run_search(SEARCH, clouds(), runs=runs, resume=True, **OFF)
        assert again.summary["trials"] == searched.summary["trials"]
        with pytest.raises(UserError, match="already exists"):
            run_search(SEARCH, clouds(), runs=runs, **OFF)
        with pytest.raises(UserError, match="cannot be compared with the trials so far"):
            run_search(SEARCH, clouds(seed=1), runs=runs, resume=True, **OFF)

    def test_a_failed_search_says_so_and_can_be_read(self, ray_session, tmp_path, monkeypatch):
        failing = functools.partial(search.run_search, objective=objectives.troubled)
        monkeypatch.setattr(search, "run_search", failing)
        content = {**SEARCH, "run_cap": 1, "parameters": {"model.ngf": {"values": [16]}}}
        with pytest.raises(FailedRunError, match=r"no trial has a value.*out of memory"):
            run_search(content, clouds(), runs=tmp_path, **OFF)
        results = read_results(tmp_path / "mine")
        assert results.best is None and list(results.trials.state) == ["out_of_memory"]
        with pytest.raises(UserError, match="has no generator yet"):
            results.generator()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"method": "guess"}, "^config: method: must be one of"),
            (
                {"parameters": {"model.ngff": {"values": [1]}}},
                "^config: model.ngff: .*did you mean",
            ),
            ({"base": {**BASE, "data": {"path": object}}}, "must have only text, numbers"),
            ({"baseline": "x", "arms": {}, "seeds": 2}, "^config: "),
        ],
        ids=range(4),
    )
    def test_the_errors_of_a_mapping_have_no_lines(self, content, message):
        with pytest.raises(UserError, match=message):
            run_search({**SEARCH, **content}, **OFF)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"max_concurrent": 0}, "max_concurrent: must be at least 1"),
            ({"disk_gb": float("nan")}, "disk_gb: must be at least 0"),
            ({"wandb": "x"}, "wandb: must be one of"),
            ({"runs": "s3:/bucket"}, "a URI needs two slashes after the colon"),
            ({"config": "no-preset"}, "no preset has this name"),
            ({"settings": {"eval.extractor": "none"}}, "eval.extractor"),
        ],
        ids=range(6),
    )
    def test_bad_options_are_errors(self, arguments, message):
        with pytest.raises(UserError, match=message):
            run_search(**{"config": SEARCH, **arguments, "quiet": True})

    def test_a_mapping_a_file_and_a_preset_are_read_alike(self, tmp_path):
        demo = read_search("demo", changes("fluent-heads", None, embedded=False))
        (tmp_path / "demo.yaml").write_text(demo.text)
        file = read_search(tmp_path / "demo.yaml", {"data.path": "fluent-heads"})
        assert (file.space, file.base) == (demo.space, demo.base)
        mapping = read_search({**SEARCH, "base": flatten(SEARCH["base"])}, {})
        assert mapping.base == read_search(SEARCH, {}).base and mapping.name == "mine"


class TestAblation:
    def test_its_results(self, ablated):
        assert ablated.kind == "ablation" and list(ablated.arms.arm) == ["with", "without"]
        values = ablated.trials.groupby("arm").value.mean()
        assert list(ablated.arms["mean"]) == pytest.approx([values["with"], values["without"]])
        assert ablated.arms.difference[1] == pytest.approx(values["without"] - values["with"])
        assert pd.isna(ablated.arms.difference[0])
        assert list(ablated.trials.seed) == [1, 1] and ablated.arms.pairs[1] == 1
        best = ablated.best
        assert best.name == values.idxmin() and best.value == pytest.approx(values.min())
        trials = ablated.trials[ablated.trials.arm == best.name].set_index("trial")
        assert best.folder.name == trials.value.idxmin()
        assert best.config.model.g_sle_4 is (best.name == "with")
        assert ablated.generator(device="cpu").sample([1]).shape == (1, 32, 32, 3)

    @pytest.mark.parametrize("seeds", [[], [1, 1], [-1], [2**31], 3, "0-2", [None]], ids=str)
    def test_seeds_that_are_none_are_refused(self, seeds):
        with pytest.raises(UserError, match=r"^seeds: must be"):
            run_ablation(ABLATION, clouds(), seeds=seeds, **OFF)

    def test_a_search_is_no_ablation(self):
        with pytest.raises(UserError, match=r"^config: "):
            run_ablation(SEARCH, clouds(), **OFF)


def test_the_results_of_earlier_folders(tmp_path):
    found = read_results(report_runs.write_search(tmp_path / "s"))
    assert found.best.name == "00000" and len(found.trials) == 20
    ablation = read_results(report_runs.write_ablation(tmp_path / "a"))
    assert ablation.best.name == "good" and ablation.best.value is None
    assert ablation.best.settings == {"model.d_sle": False}
    assert set(ablation.arms.data) == {"cats", "dogs"}
    assert "verdict" not in repr(found), "a result is short in a notebook"
    with pytest.raises(UserError, match="not the folder of a search"):
        read_results(tmp_path)


def test_the_default_may_win_without_a_trial_of_the_search(tmp_path):
    """It is trained only in the confirmation if the search space lacks its values."""
    best = {"trial_id": None, "value": 9.0, "config": RunConfig().model_dump()}
    found = read_results(report_runs.write_search(tmp_path / "s", best=best))
    assert found.best.name == "published default" and found.best.value == 9.0
    assert {"model.ngf": 64}.items() <= found.best.settings.items()


def test_results_can_be_pickled(trained):
    copy = pickle.loads(pickle.dumps(trained))
    assert copy.best == trained.best and copy.rows.equals(trained.rows)


def test_packages_keep_their_names_and_the_functions_have_others():
    code = (
        "import fastgan_ray\n"
        "try:\n    fastgan_ray.search(1)\n"
        "except AttributeError as error:\n    print(error)\n"
        "import fastgan_ray.search.space\n"
        "from fastgan_ray import train\n"
        "print(fastgan_ray.search.__name__, train.__name__)\n"
        "import sys\nprint('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    first, second, third = done.stdout.splitlines()
    assert first.endswith("has no attribute 'search'; did you mean run_search?")
    assert second == "fastgan_ray.search fastgan_ray.train" and third == "False"
    assert callable(fastgan_ray.run_search)
