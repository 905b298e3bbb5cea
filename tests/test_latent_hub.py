"""A generator for the Hugging Face Hub: its files, its card, and that it loads without network."""

import json
import socket

import numpy as np
import pytest
import tiny
import yaml
from command_line import call
from huggingface_hub import ModelCard
from latent_checkpoints import published, tiny_checkpoint
from PIL import Image
from safetensors import safe_open

import fastgan_ray
from fastgan_ray.latent.export import export

METRICS = {
    "fd_efficientnet_lite0": 231.25,
    "fd_efficientnet_lite0_se": 2.5,
    "kd_efficientnet_lite0": 1.5,
    "memorised": 0.125,
    "grid": "/home/someone/grids/1.png",
    "loss/d": 1.0,
}
PROTOCOL = {"extractor": "efficientnet_lite0", "reference_count": 5, "num_fakes": 4}


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A checkpoint whose metadata has what an evaluation writes."""
    pictures = tmp_path_factory.mktemp("secret") / "my-cats"
    pictures.mkdir()
    tiny.write_pictures(pictures, 5)
    folder = tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"), pictures)
    path = folder / "metadata.json"
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps({**metadata, "kimg": 3.5, "metrics": METRICS, "protocol": PROTOCOL}))
    return folder


def test_it_loads_back_and_draws_the_same_without_network(measured, tmp_path, no_network):
    out = tmp_path / "cats"
    assert export(measured, "hub", out) < 1e-4
    files = {"README.md", "config.json", "model.safetensors", "samples.png"}
    assert {path.name for path in out.iterdir()} == files
    again, before = (fastgan_ray.Generator.load(path) for path in (out, measured))
    pictures = again.sample(seeds=range(16))
    assert np.abs(pictures.astype(int) - before.sample(seeds=range(16))).max() <= 1
    with Image.open(out / "samples.png") as grid:
        assert grid.size == (4 * 34 - 2, 4 * 34 - 2)
        first = np.asarray(grid)[:32, :32].astype(int)
    assert np.abs(first - pictures[0]).max() <= 1
    with safe_open(out / "model.safetensors", "pt") as weights:
        assert weights.metadata() == {"format": "pt"}
    assert json.loads((out / "config.json").read_text())["model"]["resolution"] == 32


def test_the_card_has_what_the_hub_reads(measured, tmp_path, no_network):
    out = tmp_path / "cats"
    export(measured, "hub", out)
    data = ModelCard.load(out / "README.md").data
    assert (data.license, data.library_name) == ("unknown", "fastgan-ray")
    assert data.pipeline_tag == "unconditional-image-generation"
    values = {result.metric_type: result.metric_value for result in data.eval_results}
    expected = {name: METRICS[name] for name in METRICS if name[1:3] == "d_" and name[-2:] != "se"}
    assert values == {**expected, "memorised": 0.125}
    assert {result.dataset_name for result in data.eval_results} == {"my-cats"}


def test_the_card_tells_a_stranger_how_good_it_is_and_nothing_of_this_machine(measured, tmp_path):
    out = tmp_path / "cats"
    export(measured, "hub", out)
    text = (out / "README.md").read_text()
    for words in (
        "trained on 5 pictures (my-cats)",
        "for 3,500 training images including repetitions",
        "| fd_efficientnet_lite0 | 231.2 ± 2.5 |",
        "| number of generated pictures | 4 |",
        "`license: unknown`",
        "samples.png",
        'Generator.load(snapshot_download("USER/NAME"))',
    ):
        assert words in text, words
    everything = text + (out / "config.json").read_text()
    assert str(measured) not in everything and "secret" not in everything
    assert "/home/someone" not in everything and "loss/d" not in text


def test_the_licence_of_a_named_set_is_in_the_card(tmp_path):
    (tmp_path / "c").mkdir()
    folder = tiny_checkpoint(tmp_path / "c")
    path = folder / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["config"]["data"] |= {"path": "fluent-heads", "limit": 50}
    path.write_text(json.dumps({**metadata, "metrics": {}, "protocol": {"reference_count": 198}}))
    export(folder, "hub", tmp_path / "heads")
    text = (tmp_path / "heads" / "README.md").read_text()
    assert "trained on 50 pictures (fluent-heads)" in text
    assert "(fluent-heads) have this licence: MIT" in text


def test_a_generator_without_a_record_says_so(tmp_path):
    export(published(tmp_path / "all_1.pth"), "hub", tmp_path / "x")
    text = (tmp_path / "x" / "README.md").read_text()
    assert "not store the generator's training" in text
    assert "not store the generator's metrics" in text
    assert "model-index" not in yaml.safe_load(text.split("---\n")[1])
    # The folder can be exported again, and every command takes it.
    assert call("export", tmp_path / "x", "--to", "folder", "--out", tmp_path / "y") == 0
    assert call("sample", tmp_path / "x", "--seeds", "0", "--out", tmp_path / "s.png") == 0


def test_the_command_says_that_a_licence_is_missing(measured, tmp_path, capsys):
    assert call("export", measured, "--to", "hub", "--out", tmp_path / "x") == 0
    assert "choose a licence at the top of" in " ".join(capsys.readouterr().out.split())


def test_pictures_of_another_shape_load_back(tmp_path):
    (tmp_path / "c").mkdir()
    folder = tiny_checkpoint(tmp_path / "c", aspect="2:3")
    export(folder, "hub", tmp_path / "x")
    generator = fastgan_ray.Generator.load(tmp_path / "x")
    assert generator.sample(seeds=[0]).shape == (1, *generator.size, 3)
    height, width = generator.size
    text = (tmp_path / "x" / "README.md").read_text()
    assert height > width and f"{width} x {height} pixels (rgb)" in text
    assert f"uint8 (16, {height}, {width}, 3)" in text
