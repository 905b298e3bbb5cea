"""A generator in another format draws the same pictures."""

import json
import logging
import sys

import pytest
import torch
from latent_checkpoints import published, tiny_checkpoint
from safetensors.torch import load_file

from fastgan_ray.errors import UserError
from fastgan_ray.latent.export import FORMATS, export
from fastgan_ray.latent.load import load_model
from fastgan_ray.latent.sample import latents

EVERY_SIZE = [name for name in FORMATS if name != "published"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    sections = {
        "fastgan": {},
        # Every kind of stage: 8 to 128 px is pooled to 4 px first.
        "fastgan128": {"resolution": 128, "ngf": 1},
        "fregan": {"resolution": 128, "ngf": 1, "g_wavelet_skips": True, "d_high_frequency": True},
        "dcgan": {"architecture": "dcgan", "dcgan_width": 4, "dcgan_depth": 3},
        "sngan": {"architecture": "sngan"},
        "stylegan2": {"architecture": "stylegan2", "ngf": 1},
    }
    return {
        name: tiny_checkpoint(tmp_path_factory.mktemp(name), **section)
        for name, section in sections.items()
    }


@pytest.mark.parametrize("name", EVERY_SIZE)
@pytest.mark.parametrize(
    "model", ["fastgan", "fastgan128", "fregan", "dcgan", "sngan", "stylegan2"]
)
def test_any_number_of_latents_gives_the_same_pictures(name, model, checkpoints, tmp_path):
    assert export(checkpoints[model], name, tmp_path / f"out.{name}") < 1e-4
    draw = FORMATS[name].read(tmp_path / f"out.{name}")
    generator, config = load_model(checkpoints[model])
    for count in (1, 5):
        z = latents(range(10, 10 + count), config.model.nz)
        with torch.inference_mode():
            expected = generator(z)[0].clamp(-1, 1)
            assert expected.std() > 0.01
            torch.testing.assert_close(draw(z), expected, atol=1e-4, rtol=0)


def test_a_folder_holds_plain_weights_and_what_builds_them(checkpoints, tmp_path):
    export(checkpoints["fastgan"], "folder", tmp_path / "out")
    names = load_file(tmp_path / "out" / "generator.safetensors").keys()
    assert not [name for name in names if "parametrizations" in name or "_u" in name]
    assert json.loads((tmp_path / "out" / "generator.json").read_text())["model"]["nz"] == 8
    # The folder can be exported again.
    assert export(tmp_path / "out", "folder", tmp_path / "again") == 0


def test_the_published_format_draws_the_same(tmp_path):
    (tmp_path / "ours").mkdir()
    section = {"resolution": 256, "ngf": 4, "output_activation": "none"}
    ours = tiny_checkpoint(tmp_path / "ours", decoder_width=32, **section)
    assert export(ours, "published", tmp_path / "x.pth") == 0
    again, config = load_model(tmp_path / "x.pth")
    z = latents([7], config.model.nz)
    with torch.inference_mode():
        assert torch.equal(again(z)[0], load_model(ours)[0](z)[0])


def test_what_has_no_published_format_is_refused(checkpoints, tmp_path):
    cases = {
        "must be one of": checkpoints["fastgan"],
        "dcgan": checkpoints["dcgan"],
        "already": published(tmp_path / "all.pth"),
    }
    export(checkpoints["fastgan"], "folder", tmp_path / "folder")
    cases["needs a discriminator, but .* is an exported folder"] = tmp_path / "folder"
    for words, checkpoint in cases.items():
        with pytest.raises(UserError, match=words):
            export(checkpoint, "published", tmp_path / "x.pth")
    assert not (tmp_path / "x.pth").exists()


def test_the_exporter_is_silent(tmp_path, capfd, caplog):
    """A generator with skip-layer excitation has a Split, about which the exporter warns."""
    checkpoint = tiny_checkpoint(tmp_path, resolution=256, ngf=1)
    export(checkpoint, "onnx", tmp_path / "x.onnx")
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert loud == [] and capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == logging.NOTSET


def test_without_onnx_the_error_says_what_to_install(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'fastgan-ray\[export\]'"):
        export(checkpoints["fastgan"], "onnx", tmp_path / "x.onnx")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "generator.json").write_text("{"),
        lambda folder: (folder / "generator.json").write_text('{"format": "other"}'),
        lambda folder: (folder / "generator.json").write_text("[]"),
        lambda folder: (folder / "generator.safetensors").write_bytes(b"x" * 40),
        lambda folder: (folder / "generator.safetensors").unlink(),
    ],
)
def test_a_damaged_folder_is_named(damage, checkpoints, tmp_path):
    export(checkpoints["fastgan"], "folder", tmp_path / "out")
    damage(tmp_path / "out")
    with pytest.raises(UserError, match=str(tmp_path / "out")):
        load_model(tmp_path / "out")


def test_an_export_that_draws_something_else_is_refused(checkpoints, tmp_path, monkeypatch):
    wrong = FORMATS["folder"]._replace(read=lambda out: lambda z: torch.full((3, 3, 32, 32), -1.0))
    monkeypatch.setitem(FORMATS, "folder", wrong)
    with pytest.raises(UserError, match="do not use this file"):
        export(checkpoints["fastgan"], "folder", tmp_path / "out")
