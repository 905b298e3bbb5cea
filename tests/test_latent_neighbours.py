"""Training pictures beside samples."""

import warnings

import lpips
import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from fastgan_ray.config.data import DataConfig
from fastgan_ray.config.evaluation import EvalConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.source import open_source
from fastgan_ray.errors import UserError
from fastgan_ray.latent.load import data_config
from fastgan_ray.latent.neighbours import nearest_pictures, neighbour_rows, save_neighbours
from fastgan_ray.latent.perceptual_neighbours import nearest_pictures as nearest_by_lpips
from fastgan_ray.latent.pictures import read_pictures
from fastgan_ray.metrics.extractors import load_extractor
from fastgan_ray.metrics.memorisation import (
    closest_pairs,
    memorisation,
    nearest_training,
    neighbours,
)
from fastgan_ray.train import perceptual
from fastgan_ray.train.perceptual import load_distance, load_embedding

DEVICE = torch.device("cpu")


def clouds(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("mirrored", [False, True])
def test_neighbours_against_every_pair_looked_at(mirrored):
    real, fake = clouds(40, 6), clouds(9, 6, seed=1)
    flipped = clouds(40, 6, seed=2) if mirrored else None
    views = [real] if flipped is None else [real, flipped]

    def away(x, i):
        return min(float(np.linalg.norm(x - view[i])) for view in views)

    own = [min(min(away(view[i], j) for view in views[:1]) for j in range(40) if j != i)
           for i in range(40)]  # fmt: skip
    nearest = neighbours(real, fake, flipped, 4)
    if not mirrored:
        assert nearest.too_near == pytest.approx(np.quantile(own, 0.05) / np.mean(own), rel=1e-4)
    for row, pairs in enumerate(nearest.pairs):
        distances = np.array([away(fake[row], i) for i in range(40)])
        assert [pair.training for pair in pairs] == list(np.argsort(distances)[:4])
        ratio = [pair.distance for pair in pairs] / distances[np.argsort(distances)[:4]]
        assert ratio == pytest.approx(ratio[0], rel=1e-4)


def test_neighbours_agree_with_the_closest_pairs_and_the_share_that_is_too_near():
    real = clouds(50, 4)
    fake = np.concatenate([real[:3] + 1e-4, clouds(7, 4, seed=1)])
    nearest = neighbours(real, fake, real[:, ::-1].copy(), 1)
    closest = sorted((pairs[0] for pairs in nearest.pairs), key=lambda pair: pair.distance)
    expected = nearest_training(real, fake, real[:, ::-1].copy())
    assert closest == closest_pairs(expected)
    share = np.mean([pairs[0].distance < nearest.too_near for pairs in nearest.pairs])
    assert share == pytest.approx(memorisation(expected)["memorised"])


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    folder = tiny.write_pictures(tmp_path_factory.mktemp("pictures"), 6)
    config = RunConfig(
        data=DataConfig(path=str(folder)), eval=EvalConfig(extractor="efficientnet_lite0")
    )
    return folder, config, open_source(config.data), load_extractor("efficientnet_lite0", DEVICE)


def test_a_copy_is_found_and_called_too_near_mirrored_or_not(setting, tmp_path):
    folder, config, source, extractor = setting
    pictures = read_pictures(folder, config.data, (40, 40))
    samples = torch.stack([pictures["4.PNG"], pictures["2.PNG"].flip(-1)])
    nearest = nearest_pictures(samples, source, config, extractor, 3)
    first, second = neighbour_rows(nearest, [10, 11], source)
    assert first["seed"] == 10 and first["too_near"] and second["too_near"]
    assert first["neighbours"][0]["picture"] == "4.PNG"
    assert second["neighbours"][0]["picture"] == "2.PNG"
    assert first["neighbours"][0]["distance"] < 0.1 < first["neighbours"][1]["distance"]
    save_neighbours(samples, nearest, source, config, tmp_path / "near.png")
    with Image.open(tmp_path / "near.png") as grid:
        assert grid.size == (4 * 42 - 2, 2 * 42 - 2)
        tiles = np.asarray(grid)
    assert np.abs(tiles[:40, :40].astype(int) - tiles[:40, 42:82]).max() <= 1


def test_a_lone_sample_has_neighbours_as_many_as_there_are(setting):
    folder, config, source, extractor = setting
    sample = read_pictures(folder, config.data, (32, 32))["1.PNG"][None]
    nearest = nearest_pictures(sample, source, config, extractor, 64)
    assert len(nearest.pairs) == 1 and len(nearest.pairs[0]) == 6


def test_pictures_all_alike_are_no_reference(setting, tmp_path):
    for index in range(3):
        Image.new("RGB", (8, 8), "red").save(tmp_path / f"{index}.png")
    _, config, _, extractor = setting
    source = open_source(DataConfig(path=str(tmp_path)))
    with pytest.raises(
        UserError, match="2 different pictures are needed, but all 3 have the same features"
    ):
        nearest_pictures(torch.zeros(2, 3, 8, 8), source, config, extractor, 1)


def test_the_data_set_is_the_runs_own_unless_replaced(setting):
    _, config, _, _ = setting
    assert data_config("x", config, {}) == config
    assert data_config("x", config, {"data.path": "other"}).data.path == "other"
    with pytest.raises(UserError, match=r"x: .*--data"):
        data_config("x", RunConfig(), {})


@pytest.fixture(scope="module")
def small_lpips():
    """LPIPS on the smallest of its networks, with seeded random weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips passes torchvision's retired arguments
        network = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    rng = torch.Generator().manual_seed(0)
    for weight in network.net.parameters():
        torch.nn.init.normal_(weight, 0.0, 0.05, generator=rng)
    return network.eval()


@pytest.mark.parametrize("mode", ["rgb", "grey"])
def test_squared_distances_of_embeddings_are_the_perceptual_distance(
    small_lpips, mode, monkeypatch
):
    monkeypatch.setattr(perceptual, "_published_lpips", lambda: small_lpips)
    channels = {"rgb": 3, "grey": 1}[mode]
    pictures = (
        torch.rand(2, 3, channels, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    )
    for name in perceptual.NETWORKS:
        embed, distance = load_embedding(name, DEVICE), load_distance(name, DEVICE)
        squares = (embed(pictures[0]) - embed(pictures[1])).square().sum(dim=1)
        for square, a, b in zip(squares, *pictures, strict=True):
            assert float(square) == pytest.approx(float(distance(a[None], b[None])), rel=1e-4)


@pytest.mark.parametrize("flip", [0.0, 0.5])
def test_perceptual_neighbours_are_those_of_every_pair_looked_at(setting, flip, monkeypatch):
    folder, config, source, _ = setting
    config = config.model_copy(update={"data": config.data.model_copy(update={"flip": flip})})
    pictures = torch.stack(list(read_pictures(folder, config.data, (32, 32)).values()))
    samples = torch.stack([pictures[4], pictures[2].flip(-1), (pictures[4] + 2 / 255).clamp(-1, 1)])
    distance = load_distance("efficientnet_lite0", DEVICE)

    def away(a, b):
        views = [b, b.flip(-1)] if flip else [b]
        return min(float(distance(a[None], view[None])) for view in views)

    own = [[away(a, b) for b in pictures] for a in pictures]
    nearest_others = [min(value for value in row if value > 1e-5) for row in own]
    embed = load_embedding("efficientnet_lite0", DEVICE)
    monkeypatch.setattr("fastgan_ray.latent.perceptual_neighbours._QUERY_BYTES", 1)
    found = nearest_by_lpips(samples, source, config, embed, 2)
    unit = np.mean(nearest_others)
    assert found.too_near == pytest.approx(np.quantile(nearest_others, 0.05) / unit, rel=1e-3)
    for sample, pairs in zip(samples, found.pairs, strict=True):
        row = np.array([away(sample, picture) for picture in pictures])
        assert [pair.training for pair in pairs] == list(np.argsort(row)[:2])
        expected = np.sort(row)[:2] / unit
        assert [pair.distance for pair in pairs] == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert found.pairs[0][0].distance < found.too_near
    assert (found.pairs[1][0].distance < 0.01) == bool(flip)


def test_pictures_that_look_the_same_are_no_perceptual_reference(setting, tmp_path):
    for index in range(3):
        Image.new("RGB", (8, 8), "red").save(tmp_path / f"{index}.png")
    _, config, _, _ = setting
    source = open_source(DataConfig(path=str(tmp_path)))
    embed = load_embedding("efficientnet_lite0", DEVICE)
    words = "2 different pictures are needed, but all 3 pictures look the same"
    with pytest.raises(UserError, match=words):
        nearest_by_lpips(torch.zeros(1, 3, 32, 32), source, config, embed, 1)


def test_large_pictures_are_compared_at_256_px(setting):
    _, config, source, _ = setting
    shapes = []

    def embed(pictures):
        shapes.append(pictures.shape[-2:])
        return pictures.flatten(1)

    nearest_by_lpips(torch.rand(1, 3, 320, 640), source, config, embed, 1)
    assert set(shapes) == {(128, 256)}
