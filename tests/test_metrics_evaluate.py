"""From a generator and a folder of pictures to a number with its fingerprint."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from fastgan_ray.config.schema import EvalConfig, RunConfig
from fastgan_ray.data.source import open_source
from fastgan_ray.errors import DivergedError, UserError
from fastgan_ray.metrics.evaluate import METRICS, Sets, evaluate, latents
from fastgan_ray.metrics.extractors import Extractor, load_extractor
from fastgan_ray.metrics.frechet import frechet_distance
from fastgan_ray.metrics.kernel import kernel_distance
from fastgan_ray.metrics.names import early_name, metric_name, searchable, value_of
from fastgan_ray.metrics.protocol import protocol, same_protocol
from fastgan_ray.metrics.reference import Reference, load_reference, reference_features

CPU = torch.device("cpu")
NZ = 6


class Network:
    """Pooled colours in place of a network; counts the pictures it has seen."""

    def __init__(self):
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        return F.adaptive_avg_pool2d(images, 2).flatten(1)


def stand_in(weights="0" * 64, size=16):
    return Extractor("efficientnet_lite0", weights, size, Network(), CPU)


def evaluation(**values):
    return EvalConfig.model_validate(
        {"extractor": "efficientnet_lite0", "num_fakes": 50, "batch_size": 16, **values}
    )


def sample(z_BZ):
    """A smooth generator without state."""
    assert z_BZ.shape[1] == NZ
    mixing = torch.randn(NZ, 3 * 4, generator=torch.Generator().manual_seed(3))
    coarse = (z_BZ @ mixing).view(-1, 3, 2, 2)
    return torch.tanh(F.interpolate(coarse, size=24, mode="bilinear"))


REAL = np.random.default_rng(0).normal(120, 40, size=(30, 12)).astype(np.float32)
REFERENCE = Reference(REAL, None)
FD = "fd_efficientnet_lite0"


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    """Six pictures of unequal sizes, one half transparent."""
    (tmp_path / "pictures").mkdir()
    rng = np.random.default_rng(1)
    for index, (width, height) in enumerate([(40, 40), (64, 32), (20, 50), (16, 16), (33, 34)]):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{index}.png")
    half = np.full((30, 30, 4), 90, dtype=np.uint8)
    half[:, :, 3] = 128
    Image.fromarray(half).save(tmp_path / "pictures" / "half.png")
    return tmp_path / "pictures"


def configured(folder, **data):
    return RunConfig.model_validate(
        {"data": {"path": str(folder), **data}, "eval": evaluation().model_dump()}
    )


# --- evaluate


def measured(sampler, extractor=None, reference=REFERENCE, early=False, **settings):
    extractor = extractor or stand_in()
    config = evaluation(**settings)
    return evaluate(sampler, NZ, reference, extractor, config, CPU, early).values


def test_is_the_distance_of_what_files_would_hold(tmp_path):
    values = measured(sample)
    drawn = torch.randn(50, NZ, generator=torch.Generator().manual_seed(0))
    stored = []
    for index, image in enumerate(sample(drawn)):
        path = tmp_path / f"{index}.png"
        pixels = ((image.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
        Image.fromarray(pixels).save(path)
        stored.append(torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1).float())
    features = stand_in()(torch.stack(stored)).numpy()
    assert values[FD] == pytest.approx(frechet_distance(REAL, features), rel=1e-5)
    kernel, _ = kernel_distance(REAL, features)
    assert values["kd_efficientnet_lite0"] == pytest.approx(kernel, rel=1e-5)
    assert values["num_fakes"] == 50


def test_every_sample_is_drawn_once_from_the_configured_seed():
    drawn = []

    def recording(z_BZ):
        drawn.append(z_BZ)
        return sample(z_BZ)

    extractor = stand_in()
    first = measured(recording, extractor)
    assert extractor.network.seen == 50
    assert [len(z) for z in drawn] == [16, 16, 16, 2]
    torch.manual_seed(123)
    again = measured(recording, extractor)
    assert again == first
    assert torch.equal(torch.cat(drawn[:4]), torch.cat(drawn[4:]))
    assert measured(sample, extractor, seed=1) != first


@pytest.mark.parametrize("batch_size", [1, 7, 50, 64])
def test_batch_size_changes_only_the_rounding(batch_size):
    one, other = measured(sample), measured(sample, batch_size=batch_size)
    assert other == pytest.approx(one, rel=1e-6)


def test_pictures_beyond_the_range_are_clipped_as_in_a_file():
    def loud(z_BZ):
        return sample(z_BZ) * 3

    assert measured(loud) == measured(lambda z: loud(z).clamp(-1, 1))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_non_finite_pictures_are_a_divergence(bad):
    def broken(z_BZ):
        images = sample(z_BZ)
        images[-1, 0, 0, 0] = bad
        return images

    with pytest.raises(DivergedError, match="picture with non-finite values"):
        measured(broken)


def test_non_finite_features_are_a_divergence():
    overflowing = Extractor("efficientnet_lite0", "", 16, lambda images: images[:, 0, 0] / 0, CPU)
    with pytest.raises(DivergedError, match="features of generated pictures are not finite"):
        measured(sample, overflowing)


def test_leaves_no_trace_in_autograd_or_the_global_generator():
    weight = torch.nn.Parameter(torch.ones(()))
    before = torch.get_rng_state()
    measured(lambda z: sample(z) * weight)
    assert weight.grad is None and torch.equal(torch.get_rng_state(), before)


def test_the_embedded_network_prefers_the_better_generator(folder):
    config = configured(folder, fit="crop")
    extractor = load_extractor("efficientnet_lite0", CPU)
    source = open_source(config.data)
    reference = load_reference(source, config, extractor)
    assert reference.features.shape == reference.mirrored.shape == (6, 1280)

    def noise(z_BZ):
        rng = torch.Generator().manual_seed(int(z_BZ.sum() * 1e4))
        return torch.rand(len(z_BZ), 3, 32, 32, generator=rng) * 2 - 1

    # The folder is mostly noise: noise must come closer to it than flat grey does.
    near = measured(noise, extractor, reference, num_fakes=6)
    far = measured(lambda z: torch.zeros(len(z), 3, 32, 32), extractor, reference, num_fakes=6)
    assert 0 < near[FD] < far[FD] and near["is_efficientnet_lite0"] >= 1


def test_every_metric_reports_finite_numbers_under_its_own_name():
    values, seen = measured(sample), set()
    for measure in METRICS.values():
        found = measure(sets(), evaluation())
        assert all(isinstance(value, float) for value in found.values())
        assert not seen & found.keys()
        seen |= found.keys()
    assert values.keys() == seen | {"num_fakes"}
    assert searchable(evaluation()).keys() <= seen
    assert values[f"{FD}_se"] >= values[f"{FD}_se_fakes"] > 0


def sets():
    fake = stand_in()(((sample(latents(evaluation(), NZ)) + 1) * 127.5).round()).numpy()
    return Sets(REAL, fake, None, REAL, None)


def test_a_generator_of_the_training_pictures_is_found_out():
    copies = iter(range(10))

    class Copying:
        def __call__(self, images):
            start = 5 * next(copies)
            return torch.from_numpy(REAL[np.arange(start, start + 5) % 30])

    extractor = Extractor("efficientnet_lite0", "0" * 64, 16, Copying(), CPU)
    config = evaluation(batch_size=5)
    # One call of the network for each batch: the extractor itself splits into fours.
    found = evaluate(sample, NZ, REFERENCE, Whole(extractor), config, CPU)
    assert found.values["memorised"] == 1 and found.values["nearest_ratio"] < 1e-6
    assert found.values["precision_k5"] == 1
    assert [pair.fake % 30 for pair in found.pairs] == [pair.training for pair in found.pairs]


class Whole:
    """An extractor that gives its network whole batches."""

    def __init__(self, extractor):
        self.name, self.logits, self._network = extractor.name, None, extractor.network

    def __call__(self, images):
        return self._network(images)


def test_a_cheap_evaluation_takes_the_first_of_the_same_latents():
    drawn = []

    def recording(z_BZ):
        drawn.append(z_BZ)
        return sample(z_BZ)

    early = measured(recording, early=True, early_fakes=20)
    assert early["num_fakes"] == 20
    assert torch.equal(torch.cat(drawn), latents(evaluation(), NZ)[:20])
    # No number of it can be taken for one of a full evaluation.
    full = measured(sample, early_fakes=20)
    assert full == measured(sample) and full["num_fakes"] == 50
    assert full.keys() & early.keys() == {"num_fakes"}
    assert value_of(early, FD) == early[f"early/{FD}"] and value_of(full, FD) == full[FD]
    assert measured(sample, early=True) == measured(sample)


def test_mirror_images_can_be_part_of_the_reference():
    both = Reference(REAL, REAL + 7)
    plain, doubled = measured(sample), measured(sample, reference=both, mirrored_reference=True)
    assert doubled[FD] != plain[FD]
    assert measured(sample, reference=both)[FD] == plain[FD]


# --- reference


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_reference_is_of_the_originals_in_order(folder, fit):
    config = configured(folder, fit=fit).data
    source = open_source(config)
    extractor = stand_in()
    features = reference_features(source, config, extractor)
    assert features.shape == (6, 12) and features.dtype == np.float32
    wide = torch.from_numpy(np.array(source.read(1))).permute(2, 0, 1).float()
    if fit == "crop":
        wide = wide[:, :, 16:48]
    if fit == "pad":
        wide = F.pad(wide, (0, 0, 16, 16), value=255)
    expected = extractor(wide[None])[0].numpy()
    np.testing.assert_allclose(features[1], expected, rtol=1e-5)


def test_reference_is_computed_once_for_each_protocol(folder):
    config = configured(folder).data
    extractor = stand_in()
    source = open_source(config)
    first = reference_features(source, config, extractor)
    assert extractor.network.seen == 6
    np.testing.assert_array_equal(reference_features(source, config, extractor), first)
    assert extractor.network.seen == 6
    others = [
        (config.model_copy(update={"fit": "crop"}), extractor),
        (config.model_copy(update={"background": "#000000"}), extractor),
        (config, stand_in(weights="1" * 64)),
        (config, stand_in(size=17)),
    ]
    for data, other in others:
        before = other.network.seen
        reference_features(source, data, other)
        assert other.network.seen == before + 6
    (folder / "3.png").unlink()
    assert len(reference_features(open_source(config), config, extractor)) == 5


def test_reference_shows_transparency_over_the_background(folder):
    white, black = configured(folder).data, configured(folder, background="#000000").data
    source = open_source(white)
    last = source.names.index("half.png")
    light = reference_features(source, white, stand_in())[last]
    dark = reference_features(source, black, stand_in())[last]
    assert (light > dark + 100).all()


def _truncate(path: Path):
    path.write_bytes(path.read_bytes()[:-40])


def _flip_a_bit(path: Path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _empty(path: Path):
    path.write_bytes(b"")


def _of_another_shape(path: Path):
    np.savez(path, features=np.zeros((2, 12), np.float32))


def _without_features(path: Path):
    np.savez(path, something=np.zeros(3))


def _other_archive(path: Path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("features.npy", b"no array")


@pytest.mark.parametrize(
    "damage",
    [_truncate, _flip_a_bit, _empty, _of_another_shape, _without_features, _other_archive],
)
def test_a_damaged_cache_file_is_built_anew(folder, cache, damage):
    config = configured(folder).data
    source = open_source(config)
    extractor = stand_in()
    features = reference_features(source, config, extractor)
    (path,) = (cache / "reference").iterdir()
    damage(path)
    np.testing.assert_array_equal(reference_features(source, config, extractor), features)
    assert extractor.network.seen == 12
    np.testing.assert_array_equal(reference_features(source, config, extractor), features)
    assert extractor.network.seen == 12
    assert list((cache / "reference").iterdir()) == [path]


def test_a_failure_leaves_no_cache_file(folder, cache):
    config = configured(folder).data
    source = open_source(config)
    (folder / "2.png").unlink()
    with pytest.raises(UserError, match=r"2\.png"):
        reference_features(source, config, stand_in())
    assert not (cache / "reference").exists()


# --- protocol


@pytest.mark.parametrize(
    ("extractor", "num_fakes", "name"),
    [
        ("inception", 5000, "fid5k_full"),
        ("inception", 50_000, "fid50k_full"),
        ("inception", 256, "fid256_full"),
        ("inception", 1500, "fid1500_full"),
        ("efficientnet_lite0", 5000, "fd_efficientnet_lite0"),
        ("efficientnet_lite0", 256, "fd_efficientnet_lite0"),
    ],
)
def test_a_metric_is_named_by_its_protocol(extractor, num_fakes, name):
    assert metric_name(evaluation(extractor=extractor, num_fakes=num_fakes)) == name


@pytest.mark.parametrize(
    ("full", "early"),
    [("fid5k_full", "early/fid"), ("kid256_full", "early/kid"), (FD, f"early/{FD}")],
)
def test_a_cheap_evaluations_name_claims_no_count(full, early):
    assert early_name(full) == early


def test_fingerprint_is_json_and_equal_for_equal_protocols(folder):
    config = configured(folder)
    source = open_source(config.data)
    fingerprint = protocol(config, stand_in(), source)
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    assert fingerprint["reference_count"] == 6 and fingerprint["num_fakes"] == 50
    other = config.model_copy(
        update={"eval": evaluation(batch_size=3, every_kimg=1.0), "model": config.model}
    )
    assert same_protocol(fingerprint, protocol(other, stand_in(), source)) == []


def test_fingerprints_differ_in_words(folder):
    config = configured(folder)
    source = open_source(config.data)
    a = protocol(config, stand_in(), source)
    changed = RunConfig.model_validate(
        {
            "data": {"path": str(folder), "fit": "pad"},
            "eval": evaluation(num_fakes=51, seed=4).model_dump(),
        }
    )
    b = protocol(changed, stand_in(weights="1" * 64), source)
    assert same_protocol(a, b) == [
        "feature network's weights: 0000000000000000 against 1111111111111111",
        "fit of pictures that are not square: squash against pad",
        "number of generated pictures: 50 against 51",
        "seed of the latents: 0 against 4",
    ]
    (folder / "0.png").unlink()
    fewer = same_protocol(a, protocol(config, stand_in(), open_source(config.data)))
    assert [line.split(":")[0] for line in fewer] == [
        "reference pictures",
        "number of reference pictures",
    ]
    assert same_protocol(a, {}) != [] and same_protocol({}, {"kid": 1}) == [
        "kid: not stated against 1"
    ]
