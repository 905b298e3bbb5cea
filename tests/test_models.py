"""The networks: sizes, switches, initialisation, noise, number formats."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from fastgan_ray.config.schema import RESOLUTIONS, ModelConfig
from fastgan_ray.models import (
    Discriminator,
    Generator,
    build_discriminator,
    build_generator,
    crop_part,
    small_resolution,
)
from fastgan_ray.models.blocks import dropout


def _config(**fields: Any) -> ModelConfig:
    return ModelConfig.model_validate({"resolution": 64, "ngf": 2, "ndf": 2, "nz": 8, **fields})


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _latents(config: ModelConfig, count: int = 2) -> Tensor:
    return torch.randn(count, config.nz, generator=_rng(1))


def _pictures(config: ModelConfig, count: int = 2) -> tuple[Tensor, Tensor]:
    side = config.resolution
    full = torch.rand(count, 3, side, side, generator=_rng(2)) * 2 - 1
    return full, functional.interpolate(full, size=small_resolution(side), mode="area")


def _assert_all_used(network: nn.Module) -> None:
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{name} is not used"
        assert parameter.grad.isfinite().all(), name


def _exercise(config: ModelConfig) -> tuple[Generator, Discriminator]:
    """One forward and backward of both networks; every parameter takes part."""
    count = 2 if config.resolution <= 256 else 1  # time
    generator, discriminator = build_generator(config), build_discriminator(config)
    full, small = generator(_latents(config, count), _rng())
    assert full.shape == (count, 3, config.resolution, config.resolution)
    assert small.shape == (count, 3, *[small_resolution(config.resolution)] * 2)
    if config.output_activation == "tanh":
        assert max(full.abs().max(), small.abs().max()) <= 1
    (full.square().mean() + small.square().mean()).backward()
    _assert_all_used(generator)
    logits, reconstructions = discriminator(full.detach(), small.detach(), part=1)
    assert logits.shape == (count, 50 if config.d_small else 25)
    side = min(128, config.resolution)
    for picture in reconstructions.values():
        assert picture.shape == (count, 3, side, side)
        assert picture.abs().max() <= 1
    (logits.mean() + sum(r.square().mean() for r in reconstructions.values())).backward()
    _assert_all_used(discriminator)
    return generator, discriminator


@pytest.mark.parametrize(
    ("resolution", "g_count", "d_count"),
    [(256, 29_127_846, 11_526_160), (512, 29_174_392, 11_526_496), (1024, 29_176_512, 11_528_192)],
)
def test_parameter_counts_are_the_published(resolution: int, g_count: int, d_count: int) -> None:
    config = ModelConfig(resolution=resolution)
    assert _count(build_generator(config)) == g_count
    discriminator = build_discriminator(config)
    assert _count(discriminator) == d_count
    assert _count(discriminator.decoders) == 3_139_488
    assert _count(discriminator.skips) == 1_032_192


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_every_resolution_trains(resolution: int) -> None:
    _exercise(_config(resolution=resolution, ngf=1, ndf=1))


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
    config = _config(resolution=resolution)
    assert set(build_generator(config).skips) == skips
    assert len(build_discriminator(config).skips) == d_skips


@pytest.mark.parametrize("source", [4, 8, 16, 32])
def test_switch_g_sle(source: int) -> None:
    channels = {4: 32, 8: 16, 16: 8, 32: 4, 64: 4, 128: 2, 256: 1, 512: 1}  # at ngf 2
    side = 16 * source
    target = channels[side]
    on, off = _config(resolution=side), _config(resolution=side, **{f"g_sle_{source}": False})
    generator, _ = _exercise(off)
    gate = 16 * channels[source] * target + target * target
    assert _count(build_generator(on)) - _count(generator) == gate


def test_switch_g_sle_4_at_32_px() -> None:
    generator, _ = _exercise(_config(resolution=32, g_sle_4=False))
    assert len(generator.skips) == 0


def test_switch_g_noise() -> None:
    generator, _ = _exercise(_config(g_noise=False))
    assert _count(build_generator(_config())) - _count(generator) == 4  # two each at 8 and 32 px
    z = _latents(generator.config)
    generator.eval()
    assert torch.equal(generator(z, _rng(5))[0], generator(z, _rng(6))[0])


def test_switch_output_activation() -> None:
    z = _latents(_config())
    bounded = build_generator(_config())(z)
    plain = build_generator(_config(output_activation="none"))(z)
    for ours, raw in zip(bounded, plain, strict=True):
        assert torch.equal(ours, raw.tanh())
        assert not torch.equal(ours, raw)


def test_switch_d_sle() -> None:
    _, off = _exercise(_config(d_sle=False))
    on = build_discriminator(_config())
    assert _count(on) - _count(off) == _count(on.skips) > 0


def test_switch_d_small() -> None:
    _, off = _exercise(_config(d_small=False, decode_small=False))
    both = build_discriminator(_config(decode_small=False))
    assert both.small is not None
    assert both.small_head is not None
    assert _count(both) - _count(off) == _count(both.small) + _count(both.small_head)


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("decode_full", False, "full"),
        ("decode_small", False, "small"),
        ("decode_part", "none", "part"),
    ],
)
def test_switch_decoder(field: str, value: object, name: str) -> None:
    _, off = _exercise(_config(**{field: value}))
    on = build_discriminator(_config())
    assert set(on.decoders) - set(off.decoders) == {name}
    assert _count(on) - _count(off) == _count(on.decoders[name])
    assert set(off(*_pictures(off.config), part=0)[1]) == {"full", "small", "part"} - {name}


def test_no_decoder_gives_no_reconstruction() -> None:
    _, none = _exercise(_config(decode_full=False, decode_small=False, decode_part="none"))
    assert none(*_pictures(none.config), part=0)[1] == {}


@pytest.mark.parametrize(
    ("kind", "decodes", "projects"),
    [
        ("ae", True, False),
        ("none", False, False),
        ("contrastive", False, True),
        ("ae_contrastive", True, True),
    ],
)
def test_switch_self_supervision(kind: str, decodes: bool, projects: bool) -> None:
    config = _config(self_supervision=kind)
    discriminator = build_discriminator(config)
    assert set(discriminator.decoders) == ({"full", "small", "part"} if decodes else set())
    assert (discriminator.projection is not None) == projects
    assert bool(discriminator(*_pictures(config), part=0)[1]) == decodes
    # The arms of an ablation start from the same weights where they have the same layers.
    published = dict(build_discriminator(_config()).named_parameters())
    for name, weight in discriminator.named_parameters():
        if name in published:
            assert torch.equal(weight, published[name]), name


def test_embedding_is_the_trunks_projection() -> None:
    discriminator = build_discriminator(_config(self_supervision="contrastive"))
    full, _ = _pictures(discriminator.config, 3)
    assert discriminator.trunk(full).shape == (3, 16, 8, 8)  # 8 ndf
    assert discriminator.embed(full).shape == (3, 128)
    discriminator.embed(full).square().mean().backward()
    assert discriminator.projection is not None
    _assert_all_used(discriminator.projection)
    _assert_all_used(discriminator.stem)


def test_trunk_is_what_the_head_judges() -> None:
    discriminator = build_discriminator(_config()).eval()
    full, small = _pictures(discriminator.config)
    logits, _ = discriminator(full, small)
    judged = discriminator.head(discriminator.trunk(full)).flatten(1)
    assert torch.equal(judged, logits[:, :25])


def test_without_decoders_the_small_branch_may_be_off() -> None:
    _config(d_small=False, self_supervision="none")
    with pytest.raises(ValidationError, match="decode_small reads the small branch"):
        _config(d_small=False)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_zeroes_its_share_and_keeps_the_mean(rate: float) -> None:
    x = torch.ones(100, 100)
    state = torch.get_rng_state()
    dropped = dropout(x, rate, _rng())
    assert torch.equal(torch.get_rng_state(), state)
    assert (dropped == 0).float().mean().item() == pytest.approx(rate, abs=0.015)
    assert torch.equal(dropped.unique(), torch.tensor([0.0, 1 / (1 - rate)]))
    assert torch.equal(dropout(x, rate, _rng()), dropped)
    assert dropout(x.bfloat16(), rate, _rng()).dtype == torch.bfloat16


def test_dropout_off() -> None:
    x = torch.ones(4)
    assert dropout(x, 0.0, _rng()) is x
    assert dropout(x, 0.5, None) is x


def test_dropout_stands_before_the_logits_only() -> None:
    discriminator = build_discriminator(_config(d_dropout=0.5)).eval()
    pictures = _pictures(discriminator.config)
    logits, decoded = discriminator(*pictures, part=0)
    again, decoded_again = discriminator(*pictures, part=0, rng=_rng())
    other, _ = discriminator(*pictures, part=0, rng=_rng(1))
    assert all(torch.equal(decoded[name], decoded_again[name]) for name in decoded)
    for branch in (slice(0, 25), slice(25, 50)):
        assert not torch.equal(logits[:, branch], again[:, branch])
        assert not torch.equal(other[:, branch], again[:, branch])


def test_switch_spectral_norm() -> None:
    generator, discriminator = _exercise(_config(spectral_norm=False))
    plain = [
        m for m in (*generator.modules(), *discriminator.modules()) if isinstance(m, nn.Conv2d)
    ]
    assert not any(nn.utils.parametrize.is_parametrized(layer) for layer in plain)
    normal = build_generator(_config())
    assert _count(normal) == _count(generator)
    layers = [m for m in normal.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(layers) == 11
    for layer in layers:
        rows = (
            layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
        )
        assert torch.linalg.matrix_norm(rows.flatten(1), 2).item() == pytest.approx(1, abs=0.1)


def test_channel_lists_replace_the_widths() -> None:
    config = _config(g_channels=[10, 9, 8, 7, 6], d_channels=[11, 10, 9, 8])
    generator, discriminator = _exercise(config)
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
    _exercise(ModelConfig.model_validate(fields))


@pytest.mark.parametrize("spectral", [True, False])
@pytest.mark.parametrize("build", [build_generator, build_discriminator])
def test_initial_weights_have_the_stated_spread(build: Any, spectral: bool) -> None:
    network = build(_config(ngf=16, ndf=16, nz=64, spectral_norm=spectral), _rng(3))
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
    first = build(_config(), _rng(4)).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second = build(_config(), _rng(4)).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = build(_config(), _rng(5)).state_dict()
    drawn = [name for name in first if name.endswith(("original", "_u", "_v", "norm.weight"))]
    assert all(
        not torch.equal(first[name], other[name]) for name in drawn if first[name].numel() > 1
    )
    default, zero = build(_config()).state_dict(), build(_config(), _rng(0)).state_dict()
    assert all(torch.equal(default[name], zero[name]) for name in default)


def _noisy_generator() -> Generator:
    generator = build_generator(_config()).eval()
    for name, parameter in generator.named_parameters():
        if name.endswith("noise.weight"):
            assert torch.equal(parameter, torch.zeros(1))
            nn.init.constant_(parameter, 0.5)
    return generator


def test_without_rng_a_sample_is_a_function_of_its_latent() -> None:
    generator = _noisy_generator()
    z = _latents(generator.config, 3)
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
    z = _latents(generator.config, 1).expand(2, -1)
    state = torch.get_rng_state()
    first = generator(z, _rng(1))[0]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(generator(z, _rng(1))[0], first)
    assert not torch.allclose(generator(z, _rng(2))[0], first, atol=1e-3)
    assert not torch.allclose(first[0], first[1], atol=1e-3)


def test_bfloat16_autocast() -> None:
    config = _config(ngf=8, ndf=8)
    generator, discriminator = build_generator(config), build_discriminator(config)
    with torch.autocast("cpu", torch.bfloat16):
        full, small = generator(_latents(config), _rng())
        assert full.dtype == torch.bfloat16
        logits, reconstructions = discriminator(full, small, part=4)
        loss = logits.float().mean() + sum(r.float().mean() for r in reconstructions.values())
    loss.backward()
    _assert_all_used(generator)
    _assert_all_used(discriminator)


def test_noise_keeps_the_features_format() -> None:
    generator = _noisy_generator()
    noise = generator.blocks["8"].layers[0].noise
    for dtype in (torch.bfloat16, torch.float64):
        x = torch.zeros(2, 4, 8, 8, dtype=dtype)
        assert noise(x, None).dtype == noise(x, _rng()).dtype == dtype


def test_float64() -> None:
    config = _config()
    generator, discriminator = (
        build_generator(config).double(),
        build_discriminator(config).double(),
    )
    full, small = generator(_latents(config).double(), _rng())
    logits, reconstructions = discriminator(full, small, part=0)
    assert {t.dtype for t in (full, logits, *reconstructions.values())} == {torch.float64}
    logits.mean().backward()


def test_channels_last_gives_the_same() -> None:
    config = _config(ngf=8, ndf=8)
    z, pictures = _latents(config), _pictures(config)
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
    z = _latents(generator.config)
    expected = generator(z)[0]
    fresh = build_generator(generator.config, _rng(9)).eval()
    fresh.load_state_dict(generator.state_dict())
    copied = copy.deepcopy(generator)
    for twin in (fresh, copied):
        assert torch.equal(twin(z)[0], expected)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert torch.equal(generator(z)[0], expected)


def test_gradient_penalty_reaches_the_weights() -> None:
    discriminator = build_discriminator(_config())
    full, small = (picture.requires_grad_() for picture in _pictures(discriminator.config))
    logits, _ = discriminator(full, small)
    slopes = torch.autograd.grad(logits.sum(), (full, small), create_graph=True)
    sum(slope.square().sum() for slope in slopes).backward()
    weight = discriminator.stem[0].parametrizations.weight.original
    assert weight.grad.isfinite().all()
    assert weight.grad.abs().max() > 0


def test_without_the_small_branch_the_small_picture_is_ignored() -> None:
    discriminator = build_discriminator(_config(d_small=False, decode_small=False)).eval()
    full, small = _pictures(discriminator.config)
    assert torch.equal(discriminator(full, small)[0], discriminator(full, small * 0)[0])


def test_big_branch_comes_first_in_the_logits() -> None:
    discriminator = build_discriminator(_config()).eval()
    full, small = _pictures(discriminator.config)
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
