"""A training and every command after it, on pictures of another mode or shape."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from command_line import call
from PIL import Image
from shaped_pictures import write_scans, write_sprites

import fastgan_ray
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.run_file import dump_run_config
from fastgan_ray.data.decode import PILLOW_MODES
from fastgan_ray.errors import UserError
from fastgan_ray.latent.load import data_config, load_model
from fastgan_ray.train.loop import train

SHAPES = {
    "grey 2:3": {"data.mode": "grey", "model.aspect": "2:3"},
    "rgba 4:3": {"data.mode": "rgba", "model.aspect": "4:3"},
    "dcgan rgba 1:2": {
        "data.mode": "rgba",
        "model.aspect": "1:2",
        "model.architecture": "dcgan",
        "model.dcgan_depth": 3,
        "model.dcgan_width": 4,
    },
}
SIZES = {"grey 2:3": (32, 48), "rgba 4:3": (32, 24), "dcgan rgba 1:2": (32, 64)}


class Run:
    """A finished training."""

    def __init__(self, name: str, folder: Path) -> None:
        changes: dict[str, Any] = SHAPES[name]
        write = write_scans if changes["data.mode"] == "grey" else write_sprites
        self.pictures = write(folder / "pictures", 5, (40, 50))
        self.folder = folder / "run"
        self.size = SIZES[name]
        self.mode = changes["data.mode"]
        settings = {
            **changes,
            "data.path": str(self.pictures),
            "data.fit": "pad",
            "train.reconstruction": "efficientnet_lite0",
            "augment.policy": "color,translation,cutout,bgc",
            "augment.ada_p": 0.3,
            "eval.probe_steps": 1,
        }
        self.config = tiny.config(**settings)
        self.recorder = tiny.Recorder(self.folder)
        train(self.config, self.recorder)

    def is_picture(self, path: Path, tiles: tuple[int, int] = (1, 1)) -> None:
        """Check the mode of a PNG, and its size in tiles across and down."""
        (width, height), (across, down) = self.size, tiles
        with Image.open(path) as picture:
            assert picture.mode == PILLOW_MODES[self.mode]
            assert picture.size == (across * (width + 2) - 2, down * (height + 2) - 2)


@pytest.fixture(scope="module", params=SHAPES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(request.param, tmp_path_factory.mktemp("shaped"))


def test_evaluations_have_all_metrics_and_grids_of_the_pictures(run: Run) -> None:
    row = run.recorder.rows[-1]
    for name in ("fd_efficientnet_lite0", "kd_efficientnet_lite0", "nearest_ratio", "drift"):
        assert np.isfinite(row[name])
    assert row["d_reconstruction"] > 0
    run.is_picture(Path(row["grid"]), (6, 6))
    run.is_picture(Path(row["pairs"]), (8, 1))
    if run.config.model.architecture == "fastgan":
        assert row["reconstruction"] > 0
        with Image.open(row["decoded"]) as decoded:
            assert decoded.mode == PILLOW_MODES[run.mode]


def test_samples_and_python(run: Run, tmp_path: Path) -> None:
    assert call("sample", run.folder, "--seeds", "0-3", "--out", tmp_path / "grid.png") == 0
    run.is_picture(tmp_path / "grid.png", (2, 2))
    assert call("sample", run.folder, "--seeds", "0-1", "--out", tmp_path / "single") == 0
    run.is_picture(tmp_path / "single" / "seed000001.png")
    generator = fastgan_ray.Generator.load(run.folder, device="cpu")
    width, height = run.size
    assert generator.size == (height, width) and generator.mode == run.mode
    assert generator.sample([1]).shape == (1, height, width, run.config.data.channels)
    with Image.open(tmp_path / "single" / "seed000001.png") as picture:
        assert np.array_equal(np.atleast_3d(np.asarray(picture)), generator.sample([1])[0])


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_a_video_has_every_pixel(run: Run, suffix: str, tmp_path: Path) -> None:
    width, height = run.size
    out = tmp_path / f"walk{suffix}"
    if suffix == ".mp4":
        ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    assert call("interpolate", run.folder, "--seeds", "0-1", "--frames", 3, "--out", out) == 0
    if suffix == ".gif":
        with Image.open(out) as video:
            assert video.size == (width, height) and video.n_frames == 3
        return
    decode = [ffmpeg, "-i", out, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    decoded = subprocess.run(decode, capture_output=True, check=True).stdout
    assert len(decoded) == 3 * height * width * 3


def test_mixtures(run: Run, tmp_path: Path) -> None:
    command = ("mix", run.folder, "--rows", "0-1", "--columns", "2", "--out", tmp_path / "mix.png")
    if run.config.model.architecture == "dcgan":
        assert call(*command) == 2
        return
    assert call(*command) == 0
    run.is_picture(tmp_path / "mix.png", (2, 3))


def test_inversion(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("invert", run.folder, run.pictures / "0.png", "--embedded", "--steps", 2, "--json")
    assert call(*command, "--out", tmp_path) == 0
    assert json.loads(capsys.readouterr().out)["0.png"]["distance"] > 0
    run.is_picture(tmp_path / "grid.png", (2, 1))


def test_neighbours_and_evaluate(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "neighbours.png"
    command = ("neighbours", run.folder, "--seeds", "0-1", "--count", 3, "--json", "--out", out)
    assert call(*command) == 0
    assert len(json.loads(capsys.readouterr().out)["samples"]) == 2
    run.is_picture(out, (4, 2))
    assert call("evaluate", run.folder, "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["protocol"].get("mode", "rgb") == run.mode
    assert result["protocol"].get("aspect", "1:1") == run.config.model.aspect
    expected = run.recorder.rows[-1]["fd_efficientnet_lite0"]
    assert result["metrics"]["fd_efficientnet_lite0"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("to", ["folder", "onnx", "pt2"])
def test_exports_draw_the_same(run: Run, to: str, tmp_path: Path) -> None:
    out = tmp_path / f"out.{to}"
    assert call("export", run.folder, "--to", to, "--out", out) == 0
    if to == "folder":
        generator, config = load_model(out)
        assert config.data.mode == run.mode and config.model.aspect == run.config.model.aspect
        expected = load_model(run.folder)[0]
        z = torch.randn(2, 8)
        torch.testing.assert_close(generator(z)[0], expected(z)[0], rtol=1e-4, atol=1e-4)
        few = ("--set", "eval.num_fakes=4")
        assert call("evaluate", out, "--embedded", "--data", run.pictures, *few) == 0


def test_the_published_format_is_refused_in_words(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.pth"
    assert call("export", run.folder, "--to", "published", "--out", out) == 2
    words = " ".join(capsys.readouterr().err.split())
    assert "dcgan" in words or f"pictures have {run.config.data.channels} channels" in words
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "value"), [("data.mode", "rgb"), ("model.aspect", "7:4"), ("data.mode", "other")]
)
def test_another_mode_or_shape_is_refused(
    run: Run, name: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("evaluate", run.folder, "--set", f"{name}={value}") == 2
    assert name in capsys.readouterr().err
    if value == "other":
        return
    path = run.folder / "config.yaml"
    path.write_text(dump_run_config(run.config))
    command = ("train", "--config", path, "--set", f"{name}={value}", "--out", run.folder)
    assert call(*command, "--resume") == 2
    stored = {"data.mode": run.mode, "model.aspect": run.config.model.aspect}[name]
    words = " ".join(capsys.readouterr().err.split())
    assert f"{name} is {stored!r} in the checkpoint and {value!r} now" in words


def test_a_generator_keeps_its_mode_without_a_run() -> None:
    with pytest.raises(UserError, match=r"data\.mode: cannot be changed after the training"):
        data_config("x", RunConfig(), {"data.mode": "grey", "data.path": "matcaps"})
