"""Pictures that are not square: the offered ratios, the networks, and what they cost."""

from __future__ import annotations

import math
import re

import networks
import pytest
import torch
from shaped_pictures import write_sprites
from stand_in_extractor import configured, stand_in

from fastgan_ray.augment import pipeline
from fastgan_ray.config.aspects import ASPECTS
from fastgan_ray.config.augment import AugmentConfig
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.model_values import RESOLUTIONS
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.run_file import check_settings, load_run_config, parse_assignments
from fastgan_ray.data.source import open_source
from fastgan_ray.metrics.protocol import protocol, protocol_differences
from fastgan_ray.metrics.reference import load_reference
from fastgan_ray.models import build_discriminator, build_generator, crop_part, small_size
from fastgan_ray.search.cost.estimate import gflop_per_image
from fastgan_ray.search.cost.memory import training_gb

OTHERS = [aspect for aspect in ASPECTS if aspect != "1:1"]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_offered_ratios_are_those_of_the_strides():
    """Both sides are multiples of resolution / 4; the shorter one has 3 or 4 of them."""
    expected = {}
    for shorter in (4, 3):
        for longer in range(shorter, 2 * shorter + 1):
            divisor = math.gcd(shorter, longer)
            small, large = shorter // divisor, longer // divisor
            expected.setdefault(f"{small}:{large}", (shorter, longer))
            expected.setdefault(f"{large}:{small}", (longer, shorter))
    assert expected == ASPECTS
    for aspect, (columns, rows) in ASPECTS.items():
        for resolution in RESOLUTIONS:
            height, width = ModelConfig(resolution=resolution, aspect=aspect).size
            assert (height, width) == (rows * resolution // 4, columns * resolution // 4)
            left, right = map(int, aspect.split(":"))
            assert width * right == height * left


@pytest.mark.parametrize(
    ("aspect", "nearest"), [("16:9", "7:4"), ("9:16", "4:7"), ("1:3", "1:2"), ("6:4", "3:2")]
)
def test_other_ratios_are_refused_with_the_list_and_the_nearest(aspect, nearest):
    (violation,) = check_settings({"model.aspect": aspect})
    assert violation.key == "model.aspect"
    assert violation.rule.startswith("must be one of 1:2, 4:7, 3:5, 2:3, 3:4, 4:5, 1:1, 5:4,")
    assert f"the allowed ratio nearest to {aspect} is {nearest}" in violation.rule


@pytest.mark.parametrize("text", ["wide", "0:3", "", "2:3:4"])
def test_what_is_no_ratio_is_refused_without_a_nearest_one(text):
    (violation,) = check_settings({"model.aspect": text})
    assert "must be one of" in violation.rule and "nearest" not in violation.rule


def test_a_ratio_needs_no_quotes(tmp_path):
    """In YAML 1.1, 2:3 would be the number 123."""
    (tmp_path / "run.yaml").write_text("model:\n  aspect: 2:3\n")
    assert load_run_config(tmp_path / "run.yaml").model.aspect == "2:3"
    assert parse_assignments(["model.aspect=2:3"]) == {"model.aspect": "2:3"}


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_both_networks_have_the_shape(aspect, resolution):
    config = networks.config(resolution=resolution, aspect=aspect, ngf=1, ndf=1)
    height, width = config.size
    generator = build_generator(config, picture_channels=4)
    full, small = generator(networks.latents(config), rng())
    assert full.shape == (2, 4, height, width)
    assert small.shape == (2, 4, *small_size(config))
    discriminator = build_discriminator(config, picture_channels=4)
    logits, decoded = discriminator(full, small, part=2)
    assert logits.shape == (2, config.logits)
    side = min(128, resolution)
    assert {picture.shape for picture in decoded.values()} == {(2, 4, *config.map_size(side))}
    columns, rows = ASPECTS[aspect]
    assert discriminator.trunk(full).shape[2:] == (2 * rows, 2 * columns)
    means = [x.mean() for x in (logits, full, small, *decoded.values())]
    torch.stack(means).sum().backward()
    for network in (generator, discriminator):
        networks.assert_all_used(network)


def test_at_every_resolution_a_shape_has_the_layers_of_a_square():
    for resolution in RESOLUTIONS:
        states = [
            {name: tuple(value.shape) for name, value in network.state_dict().items()}
            for aspect in ("1:1", "2:3")
            for build in (build_generator, build_discriminator)
            for network in [build(networks.config(resolution=resolution, aspect=aspect))]
        ]
        square, wide = {**states[0], **states[1]}, {**states[2], **states[3]}
        different = {name for name in square if square[name] != wide[name]}
        assert square.keys() == wide.keys()
        assert {name.split(".")[1] for name in different} == {"conv"}
        assert {name.split(".")[0] for name in different} == {"stem"}


def test_parts_are_quadrants_of_each_side():
    x = torch.arange(96.0).view(1, 1, 12, 8)
    for part, (top, left) in enumerate([(0, 0), (0, 4), (6, 0), (6, 4), (3, 2)]):
        expected = x[:, :, top : top + 6, left : left + 4]
        assert torch.equal(crop_part(x, part), expected)
        if part < 4:
            assert torch.equal(crop_part(x, torch.tensor(part)), expected)


def test_shifts_are_whole_pixels_within_an_eighth_of_each_side():
    images = torch.rand((600, 3, 24, 16), generator=rng(1))
    config = AugmentConfig(policy="translation")
    changed = pipeline.apply(images, pipeline.draw(config, 600, rng()))
    padded = torch.nn.functional.pad(images, (2, 2, 3, 3))
    seen = set()
    for index in range(600):
        matches = [
            (3 - top, 2 - left)
            for top in range(7)
            for left in range(5)
            if torch.equal(padded[index, :, top : top + 24, left : left + 16], changed[index])
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) == 35  # -3..3 down, -2..2 right


def test_a_shift_has_the_gradient_of_a_shift():
    images = torch.rand((3, 1, 6, 4), generator=rng(1), dtype=torch.float64).requires_grad_()
    drawn = pipeline.draw(AugmentConfig(policy="translation", translation=0.5), 3, rng())
    torch.autograd.gradcheck(lambda x: pipeline.apply(x, drawn), images)


def test_a_hole_has_the_proportions_of_the_picture():
    config = AugmentConfig(policy="cutout")
    changed = pipeline.apply(torch.ones(400, 1, 24, 16), pipeline.draw(config, 400, rng()))
    blank = changed[:, 0] == 0
    rows, columns = blank.any(dim=2).sum(dim=1), blank.any(dim=1).sum(dim=1)
    assert rows.max() == 12 and columns.max() == 8
    assert torch.equal(rows * columns, blank.sum(dim=(1, 2)))  # a rectangle


@pytest.mark.parametrize("policy", ["translation", "cutout", "bgc", "keras"])
def test_two_sizes_get_the_same_change(policy):
    small = torch.nn.functional.interpolate(
        torch.rand((40, 1, 6, 4), generator=rng(1)), size=(24, 16), mode="bilinear"
    )
    large = torch.nn.functional.interpolate(small, scale_factor=4, mode="bilinear")
    drawn = pipeline.gate(pipeline.draw(AugmentConfig(policy=policy), 40, rng()), 1.0)
    reduced = torch.nn.functional.avg_pool2d(pipeline.apply(large, drawn), 4)
    difference = (reduced - pipeline.apply(small, drawn)).abs().mean(dim=(1, 2, 3))
    assert difference.mean() < 0.06


@pytest.mark.usefixtures("empty_cache")
def test_the_protocol_says_the_shape_and_the_reference_has_it(tmp_path):
    folder = write_sprites(tmp_path / "pictures", 4, (30, 60))
    results = {}
    for aspect in ("1:1", "2:3", "1:2"):
        plain = configured(folder, fit="crop")
        model = plain.model.model_copy(update={"aspect": aspect})
        config = plain.model_copy(update={"model": model})
        source = open_source(config.data)
        features = load_reference(source, config, stand_in()).features
        results[aspect] = protocol(config, stand_in(), source), features
    assert "aspect" not in results["1:1"][0]  # equal to protocols of earlier versions
    assert protocol_differences(results["2:3"][0], results["1:1"][0]) == [
        "aspect ratio of the pictures: 2:3 against 1:1"
    ]
    for one, other in (("1:1", "2:3"), ("2:3", "1:2")):
        assert abs(results[one][1] - results[other][1]).max() > 1


def test_a_longer_picture_costs_what_it_has_more_of():
    def config(aspect: str, mode: str = "rgb") -> RunConfig:
        small = {"resolution": 128, "ngf": 8, "ndf": 8, "aspect": aspect}
        settings = {"model": small, "data": {"mode": mode}}
        return RunConfig.model_validate(settings)

    square = config("1:1")
    for aspect in OTHERS:
        area = math.prod(ASPECTS[aspect]) / 16
        assert gflop_per_image(config(aspect)) / gflop_per_image(square) == pytest.approx(
            area, rel=0.05
        )
        maps = training_gb(config(aspect), False) - training_gb(square, False)
        assert math.copysign(1, maps) == math.copysign(1, area - 1)
    assert gflop_per_image(config("1:1", "grey")) < gflop_per_image(square)
    assert gflop_per_image(config("1:1", "rgba")) > gflop_per_image(square)


def test_the_message_of_a_file_names_the_line(tmp_path):
    (tmp_path / "run.yaml").write_text("model:\n  resolution: 64\n  aspect: 16:9\n")
    with pytest.raises(Exception, match=re.escape("run.yaml:3: model.aspect: must be one of")):
        load_run_config(tmp_path / "run.yaml")
