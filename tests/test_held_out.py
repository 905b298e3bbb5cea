"""Metrics against held-out pictures: which they are, that no training sees them, the protocol."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from command_line import call
from PIL import Image
from pydantic import ValidationError
from stand_in_extractor import configured, stand_in

from fastgan_ray.config.data import DataConfig
from fastgan_ray.config.evaluation import EvalConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.sets import open_pool, open_sets
from fastgan_ray.data.source import open_source
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.evaluate import evaluate
from fastgan_ray.metrics.protocol import protocol, protocol_differences
from fastgan_ray.metrics.reference import load_sets, reference_features
from fastgan_ray.train import loop

CPU = torch.device("cpu")


def folder_of(path: Path, count: int, seed: int = 0) -> Path:
    path.mkdir()
    return tiny.write_pictures(path, count, seed)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "pictures", 10)


def settings(folder: Path, **changes: object) -> RunConfig:
    return tiny.config(**{"data.path": str(folder), **changes})


def test_by_default_all_pictures_are_the_reference(pictures):
    sets = open_sets(settings(pictures, **{"data.limit": 4}))
    assert not sets.held_out and sets.reference is sets.pool
    assert (len(sets.training), len(sets.pool)) == (4, 10)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_share_is_held_out_by_the_seed_of_the_evaluation(pictures, share):
    def held(**changes: object) -> frozenset[str]:
        sets = open_sets(settings(pictures, **{"eval.held_out": share, **changes}))
        assert sets.held_out
        assert not set(sets.pool.names) & set(sets.reference.names)
        assert set(sets.training.names) <= set(sets.pool.names)
        assert len(sets.pool) + len(sets.reference) == 10
        return frozenset(sets.reference.names)

    assert len(held()) == round(10 * share)
    assert held() == held(**{"train.seed": 5}) == held(**{"data.limit": 3})
    assert len({held(**{"eval.seed": seed}) for seed in range(6)}) > 1


def test_copies_of_a_file_are_on_one_side(pictures):
    for index in range(10):
        shutil.copy(pictures / f"{index}.PNG", pictures / f"copy{index}.png")
    sets = open_sets(settings(pictures, **{"eval.held_out": 0.3}))
    sides = [{picture.sha256 for picture in side.pictures} for side in (sets.pool, sets.reference)]
    assert not sides[0] & sides[1] and len(sets.reference) == 6


def test_another_folder(pictures, tmp_path):
    other = folder_of(tmp_path / "other", 4, seed=1)
    sets = open_sets(settings(pictures, **{"eval.data": str(other)}))
    assert (len(sets.training), len(sets.pool), len(sets.reference)) == (10, 10, 4)
    assert sets.reference.path == other
    assert len(open_pool(settings(pictures, **{"eval.data": "gone"}))) == 10
    shutil.copy(pictures / "3.PNG", other / "x.png")
    with pytest.raises(UserError, match=r"eval\.data: 1 of 5 pictures in .* are also in .*x\.png"):
        open_sets(settings(pictures, **{"eval.data": str(other)}))


@pytest.mark.parametrize(
    ("share", "sides"),
    [(0.1, "9 training pictures and 1 held-out"), (0.95, "makes 0 training pictures")],
)
def test_each_side_needs_two_pictures(pictures, share, sides):
    with pytest.raises(
        UserError, match=f"eval.held_out: the fraction {share:g} of 10 pictures.*{sides}"
    ):
        open_sets(settings(pictures, **{"eval.held_out": share}))


def test_two_ways_at_once_are_refused():
    with pytest.raises(ValidationError, match="leave one of the two out"):
        EvalConfig(data="folder", held_out=0.2)


@pytest.mark.parametrize(("limit", "count"), [(0.5, 5), (0.24, 2), (7, 7), (30, 10)])
def test_the_limit_is_a_number_or_a_share(pictures, limit, count):
    sets = open_sets(settings(pictures, **{"data.limit": limit}))
    assert len(sets.training) == count
    held = settings(pictures, **{"data.limit": 0.5, "eval.held_out": 0.2})
    assert len(open_sets(held).training) == 4


@pytest.mark.parametrize("limit", [0, 1, 1.0, 2.5, -3])
def test_other_limits_are_refused(pictures, limit):
    rules = r"whole number of at least 2, or a fraction below 1|greater than"
    with pytest.raises(ValidationError, match=rules):
        settings(pictures, **{"data.limit": limit})


def test_a_share_of_fewer_than_two_pictures_is_refused(pictures):
    with pytest.raises(
        UserError, match=r"data\.limit: the fraction 0\.1 of 10 pictures in .* is 1 picture"
    ):
        open_sets(settings(pictures, **{"data.limit": 0.1}))


def test_metrics_compare_with_the_held_out_and_memorised_with_the_others(pictures):
    config = configured(pictures)
    held = config.model_copy(update={"eval": config.eval.model_copy(update={"held_out": 0.4})})
    sets, extractor = open_sets(held), stand_in()
    reference = load_sets(sets, held, extractor)
    assert len(reference.features) == 4 and len(reference.training.features) == 6
    copies = [np.asarray(sets.pool.read(i).resize((32, 32))) for i in range(6)]
    stored = torch.from_numpy(np.stack(copies)).permute(0, 3, 1, 2) / 127.5 - 1

    def copy(z_BZ: torch.Tensor) -> torch.Tensor:
        return stored[torch.arange(len(z_BZ)) % 6].float()

    pairs = evaluate(copy, 4, reference, extractor, held.eval, CPU)
    assert pairs.values["memorised"] == 1
    assert {pair.training for pair in pairs.pairs} <= set(range(6))
    swapped = load_sets(sets._replace(pool=sets.reference, reference=sets.pool), held, extractor)
    other = evaluate(copy, 4, swapped, extractor, held.eval, CPU)
    assert other.values["kd_efficientnet_lite0"] < pairs.values["kd_efficientnet_lite0"]


def test_the_protocol_records_it(pictures, tmp_path):
    def described(**changes: object) -> dict[str, object]:
        config = settings(pictures, **changes)
        return protocol(config, stand_in(), open_sets(config).reference)

    usual, share = described(), described(**{"eval.held_out": 0.2})
    other = described(**{"eval.data": str(folder_of(tmp_path / "other", 4, seed=1))})
    assert "held_out" not in usual
    assert (share["held_out"], share["reference_count"]) == ("share 0.2", 2)
    assert other["held_out"] == "another folder"
    text = " ".join(protocol_differences(share, usual))
    assert "reference pictures that are held out from training: share 0.2 against no" in text


def test_no_training_sees_a_held_out_picture(pictures, tmp_path, monkeypatch):
    seen = []
    load = loop.load_images
    monkeypatch.setattr(
        loop, "load_images", lambda source, *rest: seen.extend(source.names) or load(source, *rest)
    )
    config = settings(pictures, **{"eval.held_out": 0.3})
    recorder = tiny.Recorder(tmp_path / "run")
    loop.train(config, recorder)
    sets = open_sets(config)
    assert sorted(seen) == sorted(sets.pool.names) and len(sets.reference) == 3
    metadata = json.loads(next(tmp_path.glob("run/checkpoint-0*/metadata.json")).read_text())
    assert metadata["protocol"]["held_out"] == "share 0.3"
    # Another share would be another training.
    other = settings(pictures, **{"eval.held_out": 0.2, "train.total_kimg": 1.0})
    with pytest.raises(UserError, match=r"eval\.held_out is 0\.3 in the checkpoint and 0\.2 now"):
        loop.train(
            other, tiny.Recorder(tmp_path / "more"), next(tmp_path.glob("run/checkpoint-0*"))
        )


def test_evaluate_and_check_use_it(pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recorder = tiny.Recorder(tmp_path / "run")
    loop.train(settings(pictures, **{"eval.held_out": 0.3}), recorder)
    (checkpoint,) = tmp_path.glob("run/checkpoint-0*")
    assert call("evaluate", str(checkpoint), "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert result["protocol"]["reference_count"] == 3
    measured = result["metrics"]["fd_efficientnet_lite0"]
    assert measured == pytest.approx(recorder.rows[-1]["fd_efficientnet_lite0"], rel=1e-4)


def test_pictures_get_a_chosen_size_before_the_features():
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    small = torch.nn.functional.interpolate(
        images, size=(8, 8), mode="bicubic", antialias=True
    ).clamp(0, 255)
    usual, first = stand_in(), stand_in()
    first = type(first)(**{**vars(first), "picture_px": 8})
    assert torch.equal(first.prepare(images), usual.prepare(small))
    assert not torch.equal(first.prepare(images), usual.prepare(images))
    assert (usual.resize, first.resize) == (
        "bicubic-antialiased-16",
        "bicubic-antialiased-8-then-16",
    )


def test_real_and_generated_pictures_get_the_chosen_size_in_the_same_way(tmp_path):
    """A generator of the reference pictures has their features."""
    pictures = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), dtype=np.uint8)
    for index, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    usual = stand_in()
    extractor = type(usual)(**{**vars(usual), "picture_px": 8})
    data = DataConfig(path=str(tmp_path))
    reference = reference_features(open_source(data), data, extractor)
    generated = extractor(torch.from_numpy(pictures).permute(0, 3, 1, 2).float())
    np.testing.assert_allclose(reference, generated.numpy(), rtol=1e-4, atol=1e-4)


def test_another_seed_of_the_latents_leaves_the_held_out_pictures(pictures, tmp_path, capsys):
    """The seed of the training has chosen them."""
    loop.train(settings(pictures, **{"eval.held_out": 0.3}), tiny.Recorder(tmp_path / "run"))
    (checkpoint,) = tmp_path.glob("run/checkpoint-0*")
    protocols = []
    for seed in (0, 5):
        assert call("evaluate", checkpoint, "--set", f"eval.seed={seed}", "--json") == 0
        (result,) = json.loads(capsys.readouterr().out)
        protocols.append(result["protocol"])
    assert protocols[0]["eval_seed"] != protocols[1]["eval_seed"]
    assert protocols[0]["reference"] == protocols[1]["reference"]


def test_a_training_measures_at_the_chosen_size(tmp_path):
    rows = tiny.rows_of(tmp_path, **{"eval.picture_px": 8})
    assert np.isfinite(rows[-1]["kd_efficientnet_lite0"])
    metadata = json.loads(next(tmp_path.glob("run/checkpoint-0*/metadata.json")).read_text())
    assert metadata["protocol"]["resize"] == "bicubic-antialiased-8-then-224"
