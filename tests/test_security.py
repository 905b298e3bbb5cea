"""What docs/security.md says is defended, where its own part's tests do not show it already."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from fastgan_ray.config.data import DataConfig
from fastgan_ray.config.run_file import load_run_config, parse_assignments
from fastgan_ray.data.cached_array import load_images
from fastgan_ray.data.source import open_source
from fastgan_ray.errors import UserError
from fastgan_ray.latent.load import load_model
from fastgan_ray.models.published_checkpoint import load_published
from fastgan_ray.search.file.read import load_search
from fastgan_ray.search.file.read_ablation import load_ablation
from fastgan_ray.tune.ray.compat import startable_nodes


class Intruder:
    """Unpickled, it makes a folder."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


@pytest.fixture
def proof(tmp_path):
    """What code from outside would make if it ran; it must not be there at the end."""
    path = tmp_path / "proof"
    yield path
    assert not path.exists(), "code from outside has run"


def test_the_intruder_would_be_noticed(tmp_path):
    pickle.loads(pickle.dumps(Intruder(tmp_path / "proof")))
    assert (tmp_path / "proof").is_dir()


@pytest.mark.parametrize("kind", ["bare pickle", "PyTorch's zip", "PyTorch's old form"])
@pytest.mark.parametrize("load", [load_published, load_model])
def test_code_in_a_checkpoint_does_not_run(tmp_path, proof, kind, load):
    path = tmp_path / "generator.pth"
    contents = {"g": Intruder(proof), "d": {}}
    if kind == "bare pickle":
        path.write_bytes(pickle.dumps(contents))
    else:
        torch.save(contents, path, _use_new_zipfile_serialization=kind == "PyTorch's zip")
    with pytest.raises(UserError, match="damaged or not a PyTorch checkpoint of plain tensors"):
        load(path)


def test_code_in_the_cache_does_not_run(tmp_path, proof, monkeypatch):
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "pictures").mkdir()
    config = DataConfig(path=str(tiny.write_pictures(tmp_path / "pictures", 3)))
    source = open_source(config)
    expected = np.array(load_images(source, config, (32, 32)))
    (cached,) = (tmp_path / "cache" / "images").iterdir()
    cached.unlink()
    with cached.open("wb") as file:
        np.save(file, np.array([Intruder(proof)], dtype=object), allow_pickle=True)
    assert np.array_equal(load_images(source, config, (32, 32)), expected)


@pytest.mark.parametrize("load", [load_run_config, load_search, load_ablation])
@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.mkdir [{}]",
        "!!python/object/new:os.mkdir [{}]",
        "!!python/name:os.mkdir",
        "!!python/module:antigravity",
        "!!python/object:pathlib.Path {{}}",
    ],
)
def test_yaml_runs_no_code(tmp_path, proof, load, value):
    path = tmp_path / "file.yaml"
    path.write_text(f"name: x\nbase: {{}}\ndata: {value.format(proof)}\n")
    with pytest.raises(UserError, match="is not allowed; write the value without a tag"):
        load(path)
    with pytest.raises(UserError, match="is not allowed; write the value without a tag"):
        parse_assignments([f"data.path={value.format(proof)}"])


def png_bomb(side: int) -> bytes:
    """A PNG of side x side black pixels: some KB that decode to GB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + kind + body + check

    size = side.to_bytes(4, "big")
    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = chunk(b"IHDR", size + size + b"\x01\x00\x00\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("packed", [False, True])
def test_a_decompression_bomb_is_refused(tmp_path, packed):
    bomb = png_bomb(20_000)
    assert len(bomb) < 100_000
    folder = tmp_path / "pictures"
    folder.mkdir()
    tiny.write_pictures(folder, 2)
    (folder / "bomb.png").write_bytes(bomb)
    path = folder
    if packed:
        path = tmp_path / "pictures.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in folder.iterdir():
                archive.write(file, file.name)
    with pytest.raises(UserError, match=r"bomb\.png: .*more than 89,478,485 pixels"):
        open_source(DataConfig(path=str(path)))


def test_a_zip_entry_that_lies_about_its_size_is_a_bad_picture(tmp_path):
    """One entry that unpacks to megabytes and declares a kilobyte."""
    path = tmp_path / "pictures.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(2):
            buffer = io.BytesIO()
            np_picture(index).save(buffer, "PNG")
            archive.writestr(f"{index}.png", buffer.getvalue())
        with archive.open("bomb.png", "w") as entry:
            for _ in range(8):
                entry.write(bytes(2**20))
    data = path.read_bytes()
    lie = data.replace((8 * 2**20).to_bytes(4, "little"), (1024).to_bytes(4, "little"))
    assert lie != data
    path.write_bytes(lie)
    with pytest.raises(UserError, match=r"1 of 3 pictures cannot be read:\n  bomb\.png"):
        open_source(DataConfig(path=str(path)))


def np_picture(seed: int):
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("name", ["../out.png", "a/../../out.png", "/out.png", "..\\out.png"])
def test_no_file_of_a_zip_lands_outside(tmp_path, name):
    inner = tmp_path / "inner"
    inner.mkdir()
    path = inner / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"anything")
    with pytest.raises(UserError, match="names of zip entries must not lead out of the archive"):
        open_source(DataConfig(path=str(path)))
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_machines_that_an_autoscaler_may_start(tmp_path):
    """Not of security: of the record that `ray up` leaves on the head."""
    record = tmp_path / "ray_bootstrap_config.yaml"
    assert startable_nodes(record) == []
    kinds = {
        "head": {"resources": {"CPU": 0}, "max_workers": 0},
        "small": {"resources": {"CPU": 4, "GPU": 1}, "max_workers": 3},
        "large": {"resources": {"CPU": 96, "GPU": 8}, "max_workers": 1},
        "own": {"resources": {}, "max_workers": 9},
    }
    record.write_text(json.dumps({"available_node_types": kinds, "max_workers": 3}))
    assert startable_nodes(record) == [
        {"CPU": 4, "GPU": 1},
        {"CPU": 96, "GPU": 8},
        {"CPU": 4, "GPU": 1},
    ]
    for damage in ("", "[]", "{}", '{"available_node_types": 3}', json.dumps({"max_workers": 3})):
        record.write_text(damage)
        assert startable_nodes(record) == []
