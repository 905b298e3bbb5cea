"""StyleGAN2: the published sizes, its layers against the slow obvious version, its interface."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F
from latent_checkpoints import alive
from torch import Tensor, nn

import fastgan_ray
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.distributed import ALONE, Group
from fastgan_ray.errors import UserError
from fastgan_ray.models import build_discriminator, build_generator, small_resolution
from fastgan_ray.models.style_layers import (
    ConvEqual,
    ConvModulated,
    LinearEqual,
    with_deviation,
)
from fastgan_ray.search.cost.estimate import gflop_per_image
from fastgan_ray.search.cost.memory import COUNTS, training_gb
from fastgan_ray.train import checkpoint
from fastgan_ray.train.losses import zero_centred_penalty
from fastgan_ray.train.regan import layer_weights, uses_per_weight


def config(**fields: Any) -> ModelConfig:
    small = {"architecture": "stylegan2", "resolution": 32, "ngf": 1, "ndf": 1, "nz": 8}
    return ModelConfig.model_validate({**small, **fields})


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=rng(seed))


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# At 4, 8, 16, ... px: the paper's configurations A to E at 256 px.
WIDTHS = [512, 512, 512, 512, 256, 128, 64]


def styled(c_in: int, c_out: int, kernel: int = 3) -> int:
    """The weights and biases of a modulated convolution, and of the layer to its style."""
    return (512 + 1) * c_in + kernel**2 * c_in * c_out + c_out


def test_parameters_are_those_of_the_published_networks() -> None:
    model = config(resolution=256, ngf=64, ndf=64, nz=512)
    mapping, constant = 8 * (512 * 512 + 512), 512 * 16
    convolutions = styled(512, 512) + 1  # at 4 px; each has a strength of the noise
    convolutions += sum(styled(a, b) + styled(b, b) + 2 for a, b in itertools.pairwise(WIDTHS))
    to_rgb = sum(styled(width, 3, 1) for width in WIDTHS)
    assert count(build_generator(model)) == mapping + constant + convolutions + to_rgb
    blocks = sum((9 * a * a + a) + (9 * a * b + b) + a * b for b, a in itertools.pairwise(WIDTHS))
    last = (9 * 513 * 512 + 512) + (16 * 512 * 512 + 512) + (512 + 1)
    assert count(build_discriminator(model)) == (3 * 64 + 64) + blocks + last


@pytest.mark.parametrize("side", [32, 64, 128])
def test_every_resolution_and_every_parameter_is_used(side: int) -> None:
    model = config(resolution=side)
    generator, discriminator = build_generator(model), build_discriminator(model)
    full, small = generator(randn(2, 8), rng())
    assert full.shape == (2, 3, side, side)
    assert small.shape == (2, 3, *[small_resolution(side)] * 2)
    assert torch.equal(small, full[:, :, ::2, ::2]) and full.abs().max() <= 1
    logits, reconstructions = discriminator(full, small, 0, rng())
    assert logits.shape == (2, 1) == (2, model.logits) and reconstructions == {}
    assert discriminator.trunk(full).shape[2:] == (8, 8)
    logits.square().mean().backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name


def by_picture(layer: ConvModulated, x: Tensor, style: Tensor, use: Any) -> Tensor:
    """The paper's equations 1 and 3: weights of its own for each picture."""
    pictures = []
    for picture, scale in zip(x, style, strict=True):
        weight = layer.weight * layer.scale * scale[None, :, None, None]
        if layer.demodulates:
            weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        pictures.append(use(picture[None], weight) + layer.bias[:, None, None])
    return torch.cat(pictures)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("demodulates", [True, False])
def test_modulation_and_demodulation_are_the_papers(kernel: int, demodulates: bool) -> None:
    layer = ConvModulated(rng(), 3, 5, kernel, demodulates=demodulates)
    nn.init.normal_(layer.bias, generator=rng(1))
    x, style = randn(4, 3, 6, 8), randn(4, 3, seed=2)
    expected = by_picture(layer, x, style, lambda x, w: F.conv2d(x, w, padding=kernel // 2))
    torch.testing.assert_close(layer(x, style), expected, rtol=1e-4, atol=1e-5)
    if demodulates:  # the scale of the style does not matter
        torch.testing.assert_close(layer(x, 3 * style), layer(x, style), rtol=1e-4, atol=1e-5)


def smooth(x: Tensor, gain: float) -> Tensor:
    """Convolve rows and columns with [1, 3, 3, 1] / 8 times `gain`, all products by hand."""
    taps = [gain * tap / 8 for tap in (1, 3, 3, 1)]
    for dim in (2, 3):
        length = x.shape[dim] - 3
        x = sum(tap * x.narrow(dim, start, length) for start, tap in enumerate(taps))
    return x


def test_doubling_is_zeros_between_pixels_a_convolution_and_the_filter() -> None:
    layer = ConvModulated(rng(), 3, 5, 3, doubles=True)
    x, style = randn(2, 3, 6, 8), randn(2, 3, seed=2)

    def use(x: Tensor, weight: Tensor) -> Tensor:
        spread = torch.zeros(1, 3, 11, 15)
        spread[:, :, ::2, ::2] = x
        y = F.conv2d(F.pad(spread, [2] * 4), weight.flip(2, 3))
        return smooth(F.pad(y, [1] * 4), 2)

    result = layer(x, style)
    assert result.shape == (2, 5, 12, 16)
    torch.testing.assert_close(result, by_picture(layer, x, style, use), rtol=1e-4, atol=1e-5)


def test_halving_is_the_filter_and_every_other_pixel() -> None:
    x = randn(2, 3, 8, 6)
    layer = ConvEqual(rng(), 3, 5, 3, halves=True)
    expected = F.conv2d(smooth(F.pad(x, [2] * 4), 1), layer.weight / 27**0.5)[:, :, ::2, ::2]
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)
    layer = ConvEqual(rng(), 3, 5, 1, halves=True, bias=False)
    expected = F.conv2d(smooth(F.pad(x, [1] * 4), 1), layer.weight / 3**0.5)[:, :, ::2, ::2]
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_layers_have_an_equalised_learning_rate() -> None:
    layer = LinearEqual(rng(), 300, 200, bias=1.0, rate=0.01)
    assert float(layer.weight.detach().std()) == pytest.approx(100, rel=0.02)
    assert layer.bias.detach().tolist() == [100.0] * 200
    x = randn(1000, 300, seed=1)
    assert float(layer(x).detach().std()) == pytest.approx(1, rel=0.05)
    assert float(layer(x).detach().mean()) == pytest.approx(1, abs=0.1)


def test_the_deviation_is_that_of_four_pictures() -> None:
    x = randn(8, 3, 4, 4)
    with_map = with_deviation(x, ALONE)
    assert torch.equal(with_map[:, :3], x)
    for index in range(8):
        members = x[[index % 2, index % 2 + 2, index % 2 + 4, index % 2 + 6]]
        value = (members.var(0, unbiased=False) + 1e-8).sqrt().mean()
        torch.testing.assert_close(with_map[index, 3], value.expand(4, 4))
    for number in (1, 2, 3, 5, 6):  # no multiples of 4
        assert with_deviation(x[:number], ALONE).isfinite().all()


def test_the_deviation_is_that_of_all_processes() -> None:
    x = randn(8, 3, 4, 4)

    class Half(Group):
        size = 2

        def __init__(self, rank: int) -> None:
            self.rank = rank

        def gather(self, rows: Tensor) -> Tensor:
            return x

    parts = [with_deviation(part, Half(rank)) for rank, part in enumerate(x.chunk(2))]
    assert torch.equal(torch.cat(parts), with_deviation(x, ALONE))


def test_noise_is_drawn_in_training_and_fixed_otherwise() -> None:
    generator, z = alive(build_generator(config())), randn(3, 8)
    fixed = generator(z)[0]
    assert torch.equal(generator(z)[0], fixed)
    drawn = [generator(z, rng(seed))[0] for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], fixed)
    silent = alive(build_generator(config(g_noise=False)))
    assert torch.equal(silent(z, rng(0))[0], silent(z)[0])
    strengths = [name for name, _ in generator.named_parameters() if "noise" in name]
    assert len(strengths) == 1 + 2 * 3  # one at 4 px, two each at 8, 16 and 32 px


def test_a_sample_depends_on_nothing_but_its_latents_direction() -> None:
    generator, z = alive(build_generator(config())), randn(4, 8)
    pictures = generator(z)[0]
    alone = torch.cat([generator(latent[None])[0] for latent in z])
    torch.testing.assert_close(pictures, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(generator(2 * z)[0], pictures, rtol=1e-4, atol=1e-5)
    assert pictures.std(0).max() > 0.01


def test_mixing_takes_the_layout_from_one_latent_and_the_rest_from_another() -> None:
    generator, a, b = alive(build_generator(config())), randn(2, 8), randn(2, 8, seed=1)
    assert torch.equal(generator.mix(a, a)[0], generator(a)[0])
    mixed = generator.mix(a, b)[0]
    assert not torch.equal(mixed, generator(a)[0]) and not torch.equal(mixed, generator(b)[0])
    by_hand, x = torch.zeros(()), torch.zeros(())
    for name, block in generator.blocks.items():
        w = generator._map(a if int(name) <= 8 else b)
        x, rgb = block(generator.constant(w) if name == "4" else x, w, None)
        by_hand = (
            rgb
            if name == "4"
            else rgb + F.interpolate(by_hand, scale_factor=2, mode="bilinear", align_corners=False)
        )
    torch.testing.assert_close(mixed, by_hand.tanh())


def test_truncation_is_refused() -> None:
    settings = {"architecture": "stylegan2", "resolution": 32, "ngf": 1, "nz": 8}
    generator = fastgan_ray.Generator(**settings)
    assert generator.sample([0]).shape == (1, 32, 32, 3)
    for use in (generator.sample, generator.latents):
        with pytest.raises(UserError, match=r"truncation must be 1 .* \(got 0\.7\)"):
            use([0], truncation=0.7)


def test_the_seed_alone_decides_the_weights() -> None:
    for build in (build_generator, build_discriminator):
        before = torch.get_rng_state()
        states = [build(config(), rng(seed)).state_dict() for seed in (4, 4, 5)]
        assert torch.equal(torch.get_rng_state(), before)
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_gradient_penalty_reaches_the_weights() -> None:
    discriminator = build_discriminator(config())
    full = randn(4, 3, 32, 32).requires_grad_()
    zero_centred_penalty(discriminator(full, full)[0], [full]).backward()
    for name, weight in discriminator.named_parameters():
        if name.endswith("weight"):
            assert bool(weight.grad.isfinite().all()) and weight.grad.abs().max() > 0, name


def test_regan_prunes_every_layer_and_counts_its_uses() -> None:
    generator = build_generator(config())
    layers = layer_weights(generator)
    kinds = (ConvModulated, LinearEqual)
    assert len(layers) == sum(isinstance(layer, kinds) for layer in generator.modules())
    uses = uses_per_weight(generator, torch.zeros(1, 8))
    assert uses.keys() == layers.keys()
    assert uses["mapping.0"] == uses["blocks.8.layers.0.affine"] == 1
    # From 4 to 8 px, a weight is used once for each of the 16 small pixels; then at 64 pixels.
    assert uses["blocks.8.layers.0.conv"] == 16 and uses["blocks.8.layers.1.conv"] == 64
    assert uses["blocks.32.to_rgb.conv"] == 1024


@pytest.mark.parametrize("side", [32, 128])
def test_the_estimates_count_its_weights(side: int) -> None:
    host = {"model.architecture": "stylegan2", "model.resolution": side}
    run, wider = tiny.config(**host), tiny.config(**host, **{"model.ngf": 16})
    networks = build_generator(wider.model), build_discriminator(wider.model)
    assert COUNTS["stylegan2"](wider, False)[0] == pytest.approx(sum(map(count, networks)), rel=0.1)
    assert training_gb(run, False) < training_gb(wider, False)
    assert gflop_per_image(run) < gflop_per_image(wider)


def test_it_trains_is_measured_and_can_be_loaded(tmp_path) -> None:
    host = {"model.architecture": "stylegan2", "model.ngf": 1, "model.ndf": 1}
    losses = {"train.loss": "logistic", "train.r1_gamma": 1.0, "train.r1_interval": 2}
    rows = tiny.rows_of(tmp_path, **host, **losses)
    assert math.isfinite(rows[-1]["fd_efficientnet_lite0"])
    assert "loss/reconstruction" not in rows[-1] and rows[-1]["loss/r1"] >= 0
    generator, loaded = checkpoint.load_generator(next(tmp_path.glob("run/checkpoint-*")))
    assert loaded.model.architecture == "stylegan2"
    assert generator(torch.zeros(1, 8))[0].shape == (1, 3, 32, 32)
