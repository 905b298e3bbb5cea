"""Thousands of damaged pictures and checkpoints: each is read, or refused in a sentence."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from colour_profiles import ADOBE_RGB, cmyk_profile, rgb_profile
from hypothesis import given
from malformed import ACCIDENTS, damaged, examples, refused
from PIL import Image, features

from fastgan_ray.config.data import DataConfig
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.data.source import open_source
from fastgan_ray.latent.load import load_model
from fastgan_ray.models import build_discriminator, build_generator
from fastgan_ray.models.published_checkpoint import load_published, save_published
from fastgan_ray.train import checkpoint
from fastgan_ray.train.best import NUMBERED
from fastgan_ray.train.state import new_state

pytestmark = pytest.mark.timeout(240)  # what hangs


# --- pictures ----------------------------------------------------------------------------------


def encodings() -> dict[str, bytes]:
    """One small picture, or a few, in every form that we read."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (12, 10, 4), dtype=np.uint8)
    rgba, frames = Image.fromarray(pixels), [Image.fromarray(pixels[:, :, :3])] * 3
    ways = {
        "a.png": (rgba, "PNG", {}),
        "b.png": (rgba.convert("P"), "PNG", {"transparency": 3}),
        "c.jpg": (rgba.convert("RGB"), "JPEG", {"exif": exif()}),
        "d.jpg": (rgba.convert("CMYK"), "JPEG", {"progressive": True}),
        "e.webp": (rgba, "WEBP", {}),
        "f.gif": (frames[0].convert("P"), "GIF", {"save_all": True, "append_images": frames[1:]}),
        "g.bmp": (rgba.convert("RGB"), "BMP", {}),
        "h.tiff": (rgba.convert("L"), "TIFF", {}),
        "i.tiff": (rgba.convert("RGB"), "TIFF", {"compression": "tiff_lzw"}),
        "j.ppm": (rgba.convert("RGB"), "PPM", {}),
        "k.jp2": (rgba.convert("RGB"), "JPEG2000", {}),
        "l.png": (rgba.convert("RGB"), "PNG", {"icc_profile": rgb_profile(ADOBE_RGB, "Adobe")}),
        "m.tiff": (rgba.convert("CMYK"), "TIFF", {"icc_profile": cmyk_profile()}),
    }
    found = {}
    for name, (image, form, options) in ways.items():
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        found[name] = buffer.getvalue()
    if "avif" in features.get_supported():
        buffer = io.BytesIO()
        rgba.save(buffer, "AVIF")
        found["n.avif"] = buffer.getvalue()
    return found


def exif() -> Image.Exif:
    """On its side."""
    tags = Image.Exif()
    tags[0x0112] = 6
    return tags


def write_zip(path: Path, pictures: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in pictures.items():
            archive.writestr(name, content)
    return path.read_bytes()


def use(path: Path, on_bad_image: str) -> int:
    """Open a data set and read all of it; how many pictures could not be."""
    source = open_source(DataConfig(path=str(path), on_bad_image=on_bad_image))
    for index in range(len(source)):
        assert source.read(index).mode == "RGB"
    return len(source.skipped)


def test_damaged_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(tmp_path / "cache"))
    path, whole = tmp_path / "pictures", encodings()
    path.mkdir()
    for name, content in whole.items():
        (path / name).write_bytes(content)
    assert use(path, "error") == 0
    skipped = []

    @examples(120)
    @given(rng=ACCIDENTS)
    def run(rng):
        # Whole ones beside them, or there is nothing to use.
        for name, content in whole.items():
            (path / f"bad-{name}").write_bytes(damaged(rng, content))
        skipped.append(use(path, "skip"))
        if skipped[-1]:
            assert refused(use, path, "error")

    run()
    assert sum(skipped) > 300, "few were malformed"


def write_tar(path: Path, pictures: dict[str, bytes]) -> bytes:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in pictures.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path.read_bytes()


def write_array(path: Path, pictures: dict[str, bytes]) -> bytes:
    np.save(path, np.zeros((len(pictures), 5, 4, 3), np.uint8))
    return path.read_bytes()


WRITERS = {"zip": write_zip, "tar": write_tar, "tar.gz": write_tar, "npy": write_array}


@pytest.mark.parametrize("form", WRITERS)
def test_damaged_archives(form, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(tmp_path / "cache"))
    path = tmp_path / f"pictures.{form}"
    whole = WRITERS[form](path, {**encodings(), "nested/j.png": encodings()["a.png"]})
    assert use(path, "error") == 0
    count = []

    @examples(400)
    @given(rng=ACCIDENTS)
    def run(rng):
        path.write_bytes(damaged(rng, whole))
        count.append(refused(use, path, rng.choice(["skip", "error"])))

    run()
    assert sum(count) > 50, "few were malformed"


# --- checkpoints -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint, and how to resume from one in its place."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "pictures").mkdir()
    pictures = tiny.write_pictures(folder / "pictures", 4)
    config = tiny.config(
        **{"data.path": str(pictures), "train.total_kimg": 0.008, "regan.sparsity": 0.3}
    )
    tiny.train(config, tiny.Recorder(folder / "run"))
    (path,) = (folder / "run").glob(NUMBERED)
    state = new_state(config, 4, torch.device("cpu"))

    def resume(path: Path) -> None:
        checkpoint.restore(path, state, config)

    resume(path)
    return path, resume


def test_damaged_checkpoints(trained):
    path, resume = trained
    count = []

    @examples(250)
    @given(rng=ACCIDENTS)
    def run(rng):
        file = rng.choice(sorted(path.iterdir()))
        whole = file.read_bytes()
        try:
            file.write_bytes(damaged(rng, whole))
            count.append(refused(resume, path))
            if file.name in ("ema.safetensors", "metadata.json"):
                refused(load_model, path)
        finally:
            file.write_bytes(whole)

    run()
    assert sum(count) > 50, "few were malformed"
    assert not refused(resume, path)


def leaves(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every value of a mapping."""
    if not isinstance(tree, dict):
        return [path]
    return [path, *(p for key, value in tree.items() for p in leaves(value, (*path, key)))]


def test_checkpoints_with_wrong_values(trained):
    path, resume = trained
    file = path / "metadata.json"
    whole = file.read_text()
    values = [None, True, -1, 0, 3, 10**30, 0.5, "x", [], {}, [1], {"a": 1}, "remove"]
    count = []

    @examples(150)
    @given(rng=ACCIDENTS)
    def run(rng):
        tree = json.loads(whole)
        place, value = rng.choice(leaves(tree)), rng.choice(values)
        if not place:
            tree = value
        else:
            inner = tree
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
            if value == "remove":
                del inner[place[-1]]
        try:
            file.write_text(json.dumps(tree))
            count.append(refused(resume, path))
            refused(load_model, path)
        finally:
            file.write_text(whole)

    run()
    assert sum(count) > 50, "few were malformed"


def test_damaged_published_checkpoints(tmp_path):
    path = tmp_path / "published.pth"
    model = ModelConfig(ngf=1, ndf=1, nz=8, output_activation="none")
    save_published(path, build_generator(model), build_discriminator(model))
    assert not refused(load_published, path)
    whole = path.read_bytes()
    # Most of the file are weights, of which any are good: the damage is in what describes them.
    described = [whole.index(b"PK"), whole.index(b"data.pkl"), whole.rindex(b"data.pkl") - 200]
    count = []

    @examples(150)
    @given(rng=ACCIDENTS)
    def run(rng):
        start = rng.choice(described)
        part = damaged(rng, whole[start : start + 4000])
        path.write_bytes(whole[:start] + part + whole[start + 4000 :])
        count.append(refused(load_published, path))

    run()
    assert sum(count) > 50, "few were malformed"
