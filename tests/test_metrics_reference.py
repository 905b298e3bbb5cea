"""Features of mirrored originals: those of mirrored files, and never mistaken for the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

from fastgan_ray.config.schema import DataConfig
from fastgan_ray.data.source import open_source
from fastgan_ray.metrics.extractors import Extractor
from fastgan_ray.metrics.reference import reference_features

SIZES = [(40, 40), (64, 32), (21, 50), (16, 16)]


class Network:
    """Pooled colours of four quarters; counts the pictures it has seen."""

    def __init__(self):
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        return F.adaptive_avg_pool2d(images, 2).flatten(1)


@pytest.fixture
def extractor():
    return Extractor("efficientnet_lite0", "0" * 64, 16, Network(), torch.device("cpu"))


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folders(tmp_path):
    """Pictures, and their mirror images under the same names."""
    rng = np.random.default_rng(1)
    for name in ("pictures", "mirrored"):
        (tmp_path / name).mkdir()
    for index, (width, height) in enumerate(SIZES):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        image.save(tmp_path / "pictures" / f"{index}.png")
        ImageOps.mirror(image).save(tmp_path / "mirrored" / f"{index}.png")
    return tmp_path / "pictures", tmp_path / "mirrored"


def features(folder, extractor, **how):
    config = DataConfig(path=str(folder))
    return reference_features(open_source(config), config, extractor, **how)


def test_mirrored_features_are_those_of_mirrored_files(folders, extractor):
    pictures, mirrored = folders
    ours = features(pictures, extractor, mirrored=True)
    np.testing.assert_allclose(ours, features(mirrored, extractor), rtol=1e-4, atol=0.01)
    assert np.abs(ours - features(pictures, extractor)).max() > 1


def test_both_are_kept_apart(folders, extractor, cache):
    straight = features(folders[0], extractor)
    mirrored = features(folders[0], extractor, mirrored=True)
    assert extractor.network.seen == 2 * len(SIZES)
    assert len(list(cache.rglob("*.npz"))) == 2
    np.testing.assert_array_equal(features(folders[0], extractor), straight)
    np.testing.assert_array_equal(features(folders[0], extractor, mirrored=True), mirrored)
    assert extractor.network.seen == 2 * len(SIZES)
