"""Features of the originals: in order, cached by protocol, and of their mirror images."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from stand_in_extractor import configured, evaluation, stand_in

from fastgan_ray.config.data import DataConfig
from fastgan_ray.config.resources import ResourcesConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.source import open_source
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.reference import load_reference, reference_features
from fastgan_ray.train.threads import cpu_threads

SIZES = [(40, 40), (64, 32), (21, 50), (16, 16)]

pytestmark = pytest.mark.usefixtures("empty_cache")


@pytest.fixture
def extractor():
    return stand_in()


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


def features(folder, extractor, **options):
    config = DataConfig(path=str(folder))
    return reference_features(open_source(config), config, extractor, **options)


def test_mirrored_features_are_those_of_mirrored_files(folders, extractor):
    pictures, mirrored = folders
    ours = features(pictures, extractor, mirrored=True)
    np.testing.assert_allclose(ours, features(mirrored, extractor), rtol=1e-4, atol=0.01)
    assert np.abs(ours - features(pictures, extractor)).max() > 1


def test_both_have_files_of_their_own(folders, extractor, empty_cache):
    straight = features(folders[0], extractor)
    mirrored = features(folders[0], extractor, mirrored=True)
    assert extractor.network.seen == 2 * len(SIZES)
    assert len(list(empty_cache.rglob("*.npz"))) == 2
    np.testing.assert_array_equal(features(folders[0], extractor), straight)
    np.testing.assert_array_equal(features(folders[0], extractor, mirrored=True), mirrored)
    assert extractor.network.seen == 2 * len(SIZES)


def test_features_of_another_number_of_threads_are_not_used(folders, extractor, empty_cache):
    """They are rounded in another way."""
    for count in (1, 2, 1):
        with cpu_threads(ResourcesConfig(cpus=count)):
            features(folders[0], extractor)
    assert len(list(empty_cache.rglob("*.npz"))) == 2
    assert extractor.network.seen == 2 * len(SIZES)


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_reference_is_of_the_originals_in_order(unequal_pictures, fit):
    config = configured(unequal_pictures, fit=fit).data
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


def test_reference_is_computed_once_for_each_protocol(unequal_pictures):
    config = configured(unequal_pictures).data
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
    (unequal_pictures / "3.png").unlink()
    assert len(reference_features(open_source(config), config, extractor)) == 5


def test_reference_shows_transparency_over_the_background(unequal_pictures):
    white, black = (
        configured(unequal_pictures).data,
        configured(unequal_pictures, background="#000000").data,
    )
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
def test_a_damaged_cache_file_is_computed_again(unequal_pictures, empty_cache, damage):
    config = configured(unequal_pictures).data
    source = open_source(config)
    extractor = stand_in()
    features = reference_features(source, config, extractor)
    (path,) = (empty_cache / "reference").iterdir()
    damage(path)
    np.testing.assert_array_equal(reference_features(source, config, extractor), features)
    assert extractor.network.seen == 12
    np.testing.assert_array_equal(reference_features(source, config, extractor), features)
    assert extractor.network.seen == 12
    assert list((empty_cache / "reference").iterdir()) == [path]


def test_a_failure_leaves_no_cache_file(unequal_pictures, empty_cache):
    config = configured(unequal_pictures).data
    source = open_source(config)
    (unequal_pictures / "2.png").unlink()
    with pytest.raises(UserError, match=r"2\.png"):
        reference_features(source, config, stand_in())
    assert not (empty_cache / "reference").exists()


def test_pictures_that_are_all_the_same_are_refused(tmp_path):
    (tmp_path / "same").mkdir()
    for index in range(3):
        Image.new("RGB", (20, 20), (9, 90, 200)).save(tmp_path / "same" / f"{index}.png")
    config = configured(tmp_path / "same")
    with pytest.raises(
        UserError, match="2 different pictures are needed, but all 3 have the same features"
    ):
        load_reference(open_source(config.data), config, stand_in())


def test_mirror_images_are_loaded_only_where_they_are_used(unequal_pictures):
    settings = {
        "data": {"path": str(unequal_pictures), "flip": 0.0},
        "eval": evaluation().model_dump(),
    }
    config = RunConfig.model_validate(settings)
    source = open_source(config.data)
    assert load_reference(source, config, stand_in()).mirrored is None
    flipping = RunConfig.model_validate({**settings, "data": {"path": str(unequal_pictures)}})
    assert load_reference(source, flipping, stand_in()).mirrored.shape == (6, 12)
    settings["eval"]["mirrored_reference"] = True
    comparing = RunConfig.model_validate(settings)
    assert load_reference(source, comparing, stand_in()).mirrored is not None
