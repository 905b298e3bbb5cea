"""Pictures in grey and with transparency: read, augmented, measured, compared and written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from encoded_pictures import WHITE, encode
from PIL import Image
from shaped_pictures import write_sprites
from stand_in_extractor import CPU, configured, stand_in

from fastgan_ray.augment import bgc, pipeline
from fastgan_ray.augment.augmentation_leak import SYMPTOMS, measure_symptoms, shrink
from fastgan_ray.config.augment import AugmentConfig
from fastgan_ray.config.data import CHANNELS, DataConfig
from fastgan_ray.data.cached_array import load_images
from fastgan_ray.data.channels import as_rgb
from fastgan_ray.data.decode import PILLOW_MODES, decode
from fastgan_ray.data.grid import save_grid, save_image, to_tensor
from fastgan_ray.data.source import open_source
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.extractors import load_extractor
from fastgan_ray.metrics.protocol import protocol, protocol_differences
from fastgan_ray.metrics.reference import reference_features
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.train.perceptual import DISTANCES, load_distance


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 4, channels: int = 3, height: int = 16, width: int = 16) -> torch.Tensor:
    return torch.rand((count, channels, height, width), generator=rng(1)) * 2 - 1


# --- reading -----------------------------------------------------------------------------------


def test_grey_is_the_lightness_of_what_rgb_shows():
    half = Image.new("RGBA", (4, 4), (200, 40, 90, 128))
    data = encode(half)
    for background in (WHITE, "#102030"):
        grey = decode(data, background, mode="grey")
        assert grey.mode == "L"
        expected = decode(data, background).convert("L")
        assert np.array_equal(np.asarray(grey), np.asarray(expected))


def test_a_grey_scan_is_read_exactly():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    grey = decode(encode(Image.fromarray(values)), WHITE, mode="grey")
    assert np.array_equal(np.asarray(grey), values)


def test_alpha_is_kept_and_a_picture_without_alpha_is_opaque():
    pixels = np.random.default_rng(0).integers(0, 255, (6, 5, 4), dtype=np.uint8)
    image = decode(encode(Image.fromarray(pixels)), WHITE, mode="rgba")
    assert image.mode == "RGBA" and np.array_equal(np.asarray(image), pixels)
    opaque = decode(encode(Image.fromarray(pixels[..., :3])), WHITE, mode="rgba")
    assert np.array_equal(np.asarray(opaque)[..., :3], pixels[..., :3])
    assert (np.asarray(opaque)[..., 3] == 255).all()
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((0, 0), 1)
    sprite = decode(encode(palette, "GIF", transparency=0), WHITE, mode="rgba")
    assert sprite.getpixel((0, 0)) == (40, 50, 60, 255) and sprite.getpixel((1, 1))[3] == 0


def test_the_cache_has_the_pictures_of_each_mode(tmp_path, empty_cache):
    folder = write_sprites(tmp_path / "pictures", 3)
    shapes = []
    for mode in CHANNELS:
        config = DataConfig(path=str(folder), mode=mode)
        images = load_images(open_source(config), config, (48, 32))
        shapes.append(images.shape)
    assert shapes == [(3, 48, 32, channels) for channels in CHANNELS.values()]
    assert len(list((empty_cache / "images").iterdir())) == 3
    hidden = images[..., 3] == 0
    assert hidden.any() and (images[hidden][:, :3] == 255).all()


# --- augmentation ------------------------------------------------------------------------------


def test_colour_operations_leave_alpha():
    images = pictures(64, 4)
    config = AugmentConfig(policy="color,bgc", ada_p=0.8)
    drawn = pipeline.draw(config, 64, rng())
    drawn["bgc"]["gates"][:, :10] = 1.0  # no geometry
    changed = pipeline.apply(images, pipeline.gate(drawn, 0.8))
    assert torch.equal(changed[:, 3], images[:, 3])
    only_colours = pipeline.apply(images[:, :3], pipeline.gate(drawn, 0.8))
    torch.testing.assert_close(changed[:, :3], only_colours)
    assert not torch.equal(only_colours, images[:, :3])


@pytest.mark.parametrize("policy", ["color", "bgc", "color,translation,cutout,bgc,keras"])
def test_grey_changes_like_three_equal_channels(policy):
    images = pictures(64, 1)
    drawn = pipeline.gate(pipeline.draw(AugmentConfig(policy=policy), 64, rng()), 0.7)
    grey = pipeline.apply(images, drawn)
    coloured = pipeline.apply(images.repeat(1, 3, 1, 1), drawn)
    assert not torch.equal(grey, images)
    for channel in range(3):
        torch.testing.assert_close(grey[:, 0], coloured[:, channel], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("policy", ["translation", "cutout", "keras", "bgc"])
def test_all_channels_move_together(channels, policy):
    images = pictures(32, 1).repeat(1, channels, 1, 1)
    drawn = pipeline.draw(AugmentConfig(policy=policy), 32, rng())
    if policy == "bgc":
        drawn["bgc"]["gates"][:, 10:] = 1.0  # no colour
    changed = pipeline.apply(images, pipeline.gate(drawn, 0.9))
    assert not torch.equal(changed, images)
    assert all(torch.equal(changed[:, 0], changed[:, channel]) for channel in range(channels))


def test_bgc_in_another_format_keeps_its_dtype():
    drawn = bgc.gate(bgc.draw(4, rng()), 1.0)
    for channels in CHANNELS.values():
        assert bgc.apply(pictures(4, channels).half(), drawn).dtype == torch.float16


@pytest.mark.parametrize("channels", [1, 4])
def test_symptoms_of_leaks_are_measured_in_every_mode(channels):
    real = shrink(pictures(32, channels, 96, 64))
    assert real.shape == (32, channels, 96, 64)
    assert shrink(pictures(2, channels, 192, 128)).shape == (2, channels, 96, 64)
    config = AugmentConfig(policy="color,translation,cutout,bgc,keras")
    findings = measure_symptoms(real, real.flip(0), config, 0.5)
    assert {finding.symptom for finding in findings} == {*SYMPTOMS}
    assert all(abs(finding.fake) < 1e-4 for finding in findings)
    borders = [finding for finding in findings if finding.op == "translation"]
    assert all(finding.augmented > 1 for finding in borders)


# --- what networks see -------------------------------------------------------------------------


def test_networks_see_grey_repeated_and_alpha_on_the_background():
    grey = pictures(2, 1)
    assert torch.equal(as_rgb(grey, WHITE), grey.repeat(1, 3, 1, 1))
    rgb = pictures(2, 3)
    assert as_rgb(rgb, WHITE) is rgb
    opaque = torch.cat([rgb, torch.ones_like(rgb[:, :1])], dim=1)
    assert torch.equal(as_rgb(opaque, "#123456"), rgb)
    clear = torch.cat([rgb, -torch.ones_like(rgb[:, :1])], dim=1)
    seen = as_rgb(clear, "#ff0080")
    expected = torch.tensor([1.0, -1.0, 128 / 127.5 - 1]).view(1, 3, 1, 1).expand_as(rgb)
    torch.testing.assert_close(seen, expected)
    half = as_rgb(torch.zeros(1, 4, 2, 2), "#000000")
    torch.testing.assert_close(half, torch.full((1, 3, 2, 2), -0.5))


def test_an_extractor_measures_what_a_viewer_sees():
    extractor = load_extractor("efficientnet_lite0", CPU, "#203040")
    pixels = np.random.default_rng(0).integers(0, 255, (2, 40, 30, 4), dtype=np.uint8)
    canvases = []
    for array in pixels:
        canvas = Image.new("RGBA", (30, 40), "#203040")
        canvas.alpha_composite(Image.fromarray(array))
        canvases.append(np.asarray(canvas.convert("RGB")))
    seen = torch.from_numpy(np.stack(canvases)).permute(0, 3, 1, 2).float()
    alpha = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    difference = extractor.prepare(alpha) - extractor.prepare(seen)
    assert difference.abs().max() <= 1.01  # Pillow rounds its products
    grey = alpha[:, :1]
    assert torch.equal(extractor(grey), extractor(grey.repeat(1, 3, 1, 1)))


@pytest.mark.usefixtures("empty_cache")
def test_the_protocol_says_the_mode_and_other_modes_do_not_compare(tmp_path):
    folder = write_sprites(tmp_path / "pictures", 4)
    protocols = {}
    for mode in CHANNELS:
        config = configured(folder, mode=mode)
        protocols[mode] = protocol(config, stand_in(), open_source(config.data))
    assert "mode" not in protocols["rgb"]  # equal to protocols of earlier versions
    assert protocol_differences(protocols["rgba"], protocols["rgb"]) == [
        "colours of the pictures: rgba against rgb"
    ]
    assert protocol_differences(protocols["grey"], protocols["grey"]) == []


@pytest.mark.usefixtures("empty_cache")
def test_the_reference_is_what_a_viewer_sees_and_each_mode_has_its_own(tmp_path, empty_cache):
    folder = write_sprites(tmp_path / "pictures", 4)
    features: dict[str, Any] = {}
    for mode in CHANNELS:
        config = DataConfig(path=str(folder), mode=mode)
        features[mode] = reference_features(open_source(config), config, stand_in())
    np.testing.assert_allclose(features["rgba"], features["rgb"], atol=1.01)
    assert np.abs(features["grey"] - features["rgb"]).max() > 5
    assert len(list((empty_cache / "reference").iterdir())) == 3


# --- the reconstruction ------------------------------------------------------------------------


def test_a_perceptual_distance_of_grey_is_that_of_three_equal_channels():
    distance = load_distance("efficientnet_lite0", CPU)
    first, second = pictures(4, 1, 32, 32), pictures(2, 1, 32, 32).flip(3)
    repeated = [x.repeat(1, 3, 1, 1) for x in (first, second)]
    torch.testing.assert_close(distance(first, second), distance(*repeated))
    plain = DISTANCES["efficientnet_lite0"](CPU)
    assert torch.equal(distance(*repeated), plain(*repeated))


def test_alpha_counts_even_where_the_colour_is_that_of_the_background():
    distance = load_distance("efficientnet_lite0", CPU, WHITE)
    white = torch.ones(1, 4, 32, 32)
    clear = white.clone()
    clear[:, 3] = -1
    clear.requires_grad_()
    error = distance(clear, white)
    assert float(error.detach()) == pytest.approx(2.0)
    (slope,) = torch.autograd.grad(error, clear)
    assert (slope[:, 3] < 0).all()
    hidden = clear.detach().clone()
    hidden[:, :3] = -0.3  # nobody sees this colour
    assert float(distance(hidden, clear.detach())) == 0.0


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_plain_distances_compare_all_channels(name):
    distance = load_distance(name, CPU)
    zero = torch.zeros(1, 4, 2, 2)
    other = zero.clone()
    other[:, 3] = 1
    assert float(distance(other, zero)) == pytest.approx(0.25)


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "channels"), CHANNELS.items())
def test_files_have_the_channels_of_the_pictures(mode, channels, tmp_path):
    images = pictures(5, channels, 6, 4)
    save_image(images[0], tmp_path / "one.png")
    save_grid(images, tmp_path / "grid.png", columns=2)
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "grid.png") as grid:
        assert one.mode == grid.mode == PILLOW_MODES[mode]
        assert one.size == (4, 6) and grid.size == (2 * 4 + 2, 3 * 6 + 2 * 2)
        torch.testing.assert_close(to_tensor(one), images[0], rtol=0, atol=0.5 / 127)
        tile = grid.crop((6, 8, 10, 14))
        torch.testing.assert_close(to_tensor(tile), images[3], rtol=0, atol=0.5 / 127)


# --- a search ----------------------------------------------------------------------------------

SEARCH = """\
method: random
run_cap: 2
metric: {{name: fd_efficientnet_lite0}}
base: {{eval.extractor: efficientnet_lite0}}
parameters: {{{name}: {{values: {values}}}}}
"""
ABLATION = """\
metric: {{name: fd_efficientnet_lite0}}
base: {{eval.extractor: efficientnet_lite0}}
seeds: 2
baseline: {{}}
arms: {{other: {{{name}: {value}}}}}
"""


@pytest.mark.parametrize(
    ("name", "values"), [("data.mode", ["rgb", "grey"]), ("model.aspect", ["1:1", "2:3"])]
)
def test_all_trials_have_one_mode_and_one_aspect(name, values):
    with pytest.raises(UserError, match=f"{name}: must be the same for all trials"):
        spec_from_text(SEARCH.format(name=name, values=values), "search.yaml")
    with pytest.raises(UserError, match="must be the same for all arms"):
        ablation_from_text(ABLATION.format(name=name, value=values[1]), "ablation.yaml")
