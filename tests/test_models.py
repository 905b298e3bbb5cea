"""The networks: sizes, initialisation, noise, number formats."""

from __future__ import annotations

import copy
from typing import Any

import networks
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.model_values import RESOLUTIONS
from fastgan_ray.models import (
    Generator,
    build_discriminator,
    build_generator,
    crop_part,
    small_resolution,
)


@pytest.mark.parametrize(
    ("resolution", "g_count", "d_count"),
    [(256, 29_127_846, 11_526_160), (512, 29_174_392, 11_526_496), (1024, 29_176_512, 11_528_192)],
)
def test_parameter_counts_are_the_published(resolution: int, g_count: int, d_count: int) -> None:
    config = ModelConfig(resolution=resolution)
    assert networks.count(build_generator(config)) == g_count
    discriminator = build_discriminator(config)
    assert networks.count(discriminator) == d_count
    assert networks.count(discriminator.decoders) == 3_139_488
    assert networks.count(discriminator.skips) == 1_032_192


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_every_resolution_trains(resolution: int) -> None:
    networks.exercise(networks.config(resolution=resolution, ngf=1, ndf=1))


@pytest.mark.parametrize(
    ("resolution", "expected"), [(32, 16), (64, 32), (128, 64), (256, 128), (1024, 128)]
)
def test_small_resolution(resolution: int, expected: int) -> None:
    assert small_resolution(resolution) == expected


@pytest.mark.parametrize(
    ("resolution", "skips", "d_skips"),
    [
        (32, {"32"}, 0),
        (64, {"64"}, 1),
        (128, {"64", "128"}, 2),
        (256, {"64", "128", "256"}, 3),
        (512, {"64", "128", "256", "512"}, 3),
    ],
)
def test_skips_stand_where_both_ends_exist(resolution: int, skips: set[str], d_skips: int) -> None:
    config = networks.config(resolution=resolution)
    assert set(build_generator(config).skips) == skips
    assert len(build_discriminator(config).skips) == d_skips


def test_channel_lists_replace_the_widths() -> None:
    config = networks.config(g_channels=[10, 9, 8, 7, 6], d_channels=[11, 10, 9, 8])
    generator, discriminator = networks.exercise(config)
    assert generator.stem.norm.num_features == 20
    assert [b.layers[-1].norm.num_features for b in generator.blocks.values()] == [18, 16, 14, 12]
    assert [b.direct[2].num_features for b in discriminator.blocks] == [8, 9, 10]
    assert discriminator.head[1].num_features == 11
    assert discriminator.stem[0].out_channels == 4  # beyond the list: half the last


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    st.fixed_dictionaries(
        {
            "resolution": st.sampled_from([32, 64]),
            "ngf": st.integers(1, 5),
            "ndf": st.integers(1, 5),
            "nz": st.integers(1, 9),
            **{
                name: st.booleans()
                for name in ("g_sle_4", "g_noise", "d_sle", "decode_full", "spectral_norm")
            },
            "decode_part": st.sampled_from(["random", "centre", "none"]),
            "output_activation": st.sampled_from(["tanh", "none"]),
        }
    )
)
def test_any_configuration_uses_all_its_parameters(fields: dict[str, Any]) -> None:
    networks.exercise(ModelConfig.model_validate(fields))


@pytest.mark.parametrize("spectral", [True, False])
@pytest.mark.parametrize("build", [build_generator, build_discriminator])
def test_initial_weights_have_the_stated_spread(build: Any, spectral: bool) -> None:
    network = build(networks.config(ngf=16, ndf=16, nz=64, spectral_norm=spectral), networks.rng(3))
    key = "parametrizations.weight.original" if spectral else "weight"
    for name, layer in network.named_modules():
        parameters = dict(layer.named_parameters(recurse=True))
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            weight = parameters[key]
            if weight.numel() > 2000:
                assert weight.std().item() == pytest.approx(0.02, rel=0.1), name
                assert abs(weight.mean().item()) < 0.002, name
        if isinstance(layer, nn.BatchNorm2d):
            assert torch.equal(layer.bias, torch.zeros_like(layer.bias))
            assert 0.9 < layer.weight.min() < layer.weight.max() < 1.1, name
            if layer.num_features >= 128:
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.25), name


@pytest.mark.parametrize("build", [build_generator, build_discriminator])
def test_the_seed_alone_decides_the_weights(build: Any) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = build(networks.config(), networks.rng(4)).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second = build(networks.config(), networks.rng(4)).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = build(networks.config(), networks.rng(5)).state_dict()
    drawn = [name for name in first if name.endswith(("original", "_u", "_v", "norm.weight"))]
    assert all(
        not torch.equal(first[name], other[name]) for name in drawn if first[name].numel() > 1
    )
    default, zero = (
        build(networks.config()).state_dict(),
        build(networks.config(), networks.rng(0)).state_dict(),
    )
    assert all(torch.equal(default[name], zero[name]) for name in default)


def _noisy_generator() -> Generator:
    generator = build_generator(networks.config()).eval()
    for name, parameter in generator.named_parameters():
        if name.endswith("noise.weight"):
            assert torch.equal(parameter, torch.zeros(1))
            nn.init.constant_(parameter, 0.5)
    return generator


def test_without_rng_a_sample_is_a_function_of_its_latent() -> None:
    generator = _noisy_generator()
    z = networks.latents(generator.config, 3)
    together = generator(z)[0]
    for index in range(3):
        alone = generator(z[index : index + 1])[0][0]
        assert torch.allclose(alone, together[index], atol=1e-6)
    state = torch.get_rng_state()
    assert torch.equal(generator(z)[0], together)
    assert torch.equal(torch.get_rng_state(), state)
    assert not [name for name in generator.state_dict() if "fixed" in name]


def test_rng_draws_the_noise_for_each_sample() -> None:
    generator = _noisy_generator()
    z = networks.latents(generator.config, 1).expand(2, -1)
    state = torch.get_rng_state()
    first = generator(z, networks.rng(1))[0]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(generator(z, networks.rng(1))[0], first)
    assert not torch.allclose(generator(z, networks.rng(2))[0], first, atol=1e-3)
    assert not torch.allclose(first[0], first[1], atol=1e-3)


def test_bfloat16_autocast() -> None:
    config = networks.config(ngf=8, ndf=8)
    generator, discriminator = build_generator(config), build_discriminator(config)
    with torch.autocast("cpu", torch.bfloat16):
        full, small = generator(networks.latents(config), networks.rng())
        assert full.dtype == torch.bfloat16
        logits, reconstructions = discriminator(full, small, part=4)
        loss = logits.float().mean() + sum(r.float().mean() for r in reconstructions.values())
    loss.backward()
    networks.assert_all_used(generator)
    networks.assert_all_used(discriminator)


def test_noise_keeps_the_features_format() -> None:
    generator = _noisy_generator()
    noise = generator.blocks["8"].layers[0].noise
    for dtype in (torch.bfloat16, torch.float64):
        x = torch.zeros(2, 4, 8, 8, dtype=dtype)
        assert noise(x, None).dtype == noise(x, networks.rng()).dtype == dtype


def test_float64() -> None:
    config = networks.config()
    generator, discriminator = (
        build_generator(config).double(),
        build_discriminator(config).double(),
    )
    full, small = generator(networks.latents(config).double(), networks.rng())
    logits, reconstructions = discriminator(full, small, part=0)
    assert {t.dtype for t in (full, logits, *reconstructions.values())} == {torch.float64}
    logits.mean().backward()


def test_channels_last_gives_the_same() -> None:
    config = networks.config(ngf=8, ndf=8)
    z, pictures = networks.latents(config), networks.pictures(config)
    generator, discriminator = build_generator(config).eval(), build_discriminator(config).eval()
    full, small = generator(z)
    logits, reconstructions = discriminator(*pictures, part=2)
    for network in (generator, discriminator):
        network.to(memory_format=torch.channels_last)
    again = generator(z)
    assert torch.allclose(again[0], full, atol=1e-5)
    assert torch.allclose(again[1], small, atol=1e-5)
    last = [picture.contiguous(memory_format=torch.channels_last) for picture in pictures]
    logits_again, reconstructions_again = discriminator(*last, part=2)
    assert torch.allclose(logits_again, logits, atol=1e-4)
    for name, picture in reconstructions.items():
        assert torch.allclose(reconstructions_again[name], picture, atol=1e-4)


def test_a_copy_and_a_reloaded_network_agree() -> None:
    generator = _noisy_generator()
    z = networks.latents(generator.config)
    expected = generator(z)[0]
    fresh = build_generator(generator.config, networks.rng(9)).eval()
    fresh.load_state_dict(generator.state_dict())
    copied = copy.deepcopy(generator)
    for twin in (fresh, copied):
        assert torch.equal(twin(z)[0], expected)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert torch.equal(generator(z)[0], expected)


def test_gradient_penalty_reaches_the_weights() -> None:
    discriminator = build_discriminator(networks.config())
    full, small = (picture.requires_grad_() for picture in networks.pictures(discriminator.config))
    logits, _ = discriminator(full, small)
    slopes = torch.autograd.grad(logits.sum(), (full, small), create_graph=True)
    sum(slope.square().sum() for slope in slopes).backward()
    weight = discriminator.stem[0].parametrizations.weight.original
    assert weight.grad.isfinite().all()
    assert weight.grad.abs().max() > 0


def test_without_the_small_branch_the_small_picture_is_ignored() -> None:
    discriminator = build_discriminator(networks.config(d_small=False, decode_small=False)).eval()
    full, small = networks.pictures(discriminator.config)
    assert torch.equal(discriminator(full, small)[0], discriminator(full, small * 0)[0])


def test_big_branch_comes_first_in_the_logits() -> None:
    discriminator = build_discriminator(networks.config()).eval()
    full, small = networks.pictures(discriminator.config)
    changed = discriminator(full, small)[0] != discriminator(full, -small)[0]
    assert not changed[:, :25].any()
    assert changed[:, 25:].any()


def test_crop_part() -> None:
    x = torch.arange(16 * 16).float().view(1, 1, 16, 16)
    corners = {0: (0, 0), 1: (0, 8), 2: (8, 0), 3: (8, 8), 4: (4, 4)}
    for part, (top, left) in corners.items():
        assert torch.equal(crop_part(x, part), x[:, :, top : top + 8, left : left + 8])


@pytest.mark.parametrize("part", [-1, 5])
def test_crop_part_refuses_other_parts(part: int) -> None:
    with pytest.raises(ValueError, match=rf"part must be 0\.\.4 \(got {part}\)"):
        crop_part(torch.zeros(1, 1, 8, 8), part)
