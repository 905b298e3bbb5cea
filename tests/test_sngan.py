"""SNGAN: the widths of the paper's tables, its blocks, and FastGAN's interface."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F
from latent_checkpoints import alive
from pydantic import ValidationError
from torch import Tensor, nn

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.models import build_discriminator, build_generator, small_resolution
from fastgan_ray.models.sngan import ResidualDown, ResidualUp
from fastgan_ray.search.cost.estimate import gflop_per_image
from fastgan_ray.search.cost.memory import COUNTS, training_gb
from fastgan_ray.train import checkpoint
from fastgan_ray.train.losses import zero_centred_penalty

SIDES = (32, 64, 128)


def config(**fields: Any) -> ModelConfig:
    small = {"architecture": "sngan", "resolution": 32, "ngf": 2, "ndf": 2, "nz": 8}
    return ModelConfig.model_validate({**small, **fields})


def published(side: int) -> ModelConfig:
    return config(resolution=side, ngf=64, ndf=64, nz=128, spectral_norm=False)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def conv(c_in: int, c_out: int, kernel: int = 3) -> int:
    return kernel * kernel * c_in * c_out + c_out


def up(c_in: int, c_out: int) -> int:
    """Two normalisations, two convolutions, the 1x1 convolution of the skip path."""
    return 2 * c_in + conv(c_in, c_out) + 2 * c_out + conv(c_out, c_out) + conv(c_in, c_out, 1)


def down(c_in: int, c_out: int, inner: int = 0) -> int:
    return conv(c_in, inner or c_in) + conv(inner or c_in, c_out) + conv(c_in, c_out, 1)


# The tables: {side: (G's dense layer, G's blocks, D's parameters by block and the last layer)}.
# At 32 px D's last two blocks keep 128 channels and the side, so their skip path has no weights.
G_TABLE: dict[int, list[int]] = {
    32: [256, 256, 256, 256],
    64: [1024, 512, 256, 128, 64],
    128: [1024, 1024, 512, 256, 128, 64],
}
D_TABLE: dict[int, list[int]] = {
    32: [down(3, 128, 128), down(128, 128), 2 * conv(128, 128), 2 * conv(128, 128), 128 + 1],
    64: [
        *(down(3, 64, 64), down(64, 128), down(128, 256), down(256, 512)),
        *(down(512, 1024), 1024 + 1),
    ],
    128: [
        *(down(3, 64, 64), down(64, 128), down(128, 256), down(256, 512), down(512, 1024)),
        *(2 * conv(1024, 1024), 1024 + 1),
    ],
}


@pytest.mark.parametrize("side", SIDES)
def test_parameters_are_those_of_the_published_tables(side: int) -> None:
    first, *_, last = widths = G_TABLE[side]
    dense = 128 * 16 * first + 16 * first
    blocks = sum(up(*pair) for pair in itertools.pairwise(widths))
    assert count(build_generator(published(side))) == dense + blocks + 2 * last + conv(last, 3)
    assert count(build_discriminator(published(side))) == sum(D_TABLE[side])


def test_the_numbers_for_cifar10() -> None:
    # Dense 528,384; three blocks of 1,246,976; the last normalisation 512; to RGB 6,915.
    assert count(build_generator(published(32))) == 528_384 + 3 * 1_246_976 + 512 + 6_915
    # 151,680 and 311,680 halve the side; twice 295,168 keep it; the last layer 129.
    assert count(build_discriminator(published(32))) == 151_680 + 311_680 + 2 * 295_168 + 129


@pytest.mark.parametrize("side", SIDES)
def test_every_resolution_and_every_parameter_is_used(side: int) -> None:
    model = config(resolution=side)
    generator, discriminator = build_generator(model), build_discriminator(model)
    full, small = generator(torch.randn(2, 8, generator=rng()), rng())
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


@pytest.mark.parametrize("side", [256, 512, 1024])
def test_another_resolution_is_refused_with_the_rule(side: int) -> None:
    with pytest.raises(ValidationError, match=rf"must be one of \(32, 64, 128\) \(got {side}\)"):
        config(resolution=side)


def test_a_block_of_g_is_the_papers_figure() -> None:
    block = ResidualUp(rng(), 3, 5)
    x = torch.randn(4, 3, 6, 8, generator=rng(1))

    def normalised(x: Tensor) -> Tensor:
        mean, variance = x.mean((0, 2, 3), True), x.var((0, 2, 3), unbiased=False, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt()

    def doubled(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    for layer in (block.conv1, block.conv2, block.skip):
        nn.init.normal_(layer.bias, generator=rng(2))
    h = block.conv1(doubled(normalised(x).clamp_min(0)))
    h = block.conv2(normalised(h).clamp_min(0))
    torch.testing.assert_close(block(x), h + block.skip(doubled(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("halves", [True, False])
def test_a_block_of_d_is_the_papers_figure(first: bool, halves: bool) -> None:
    block = ResidualDown(rng(), False, 3, 5, halves=halves, first=first)
    x = torch.randn(4, 3, 6, 8, generator=rng(1))
    for layer in (block.conv1, block.conv2, block.skip):
        nn.init.normal_(layer.bias, generator=rng(2))
    h = block.conv2(block.conv1(x if first else x.clamp_min(0)).clamp_min(0)) + block.skip(x)
    if halves:
        h = h.view(4, 5, 3, 2, 4, 2).mean((3, 5))
    torch.testing.assert_close(block(x), h, rtol=1e-4, atol=1e-5)


def test_d_sums_over_pixels() -> None:
    discriminator = build_discriminator(config())
    full = torch.rand(3, 3, 32, 32, generator=rng()) * 2 - 1
    discriminator.eval()
    sums = F.relu(discriminator.trunk(full)).flatten(2).sum(2)
    expected = sums @ discriminator.head.weight[0, :, 0, 0] + discriminator.head.bias
    torch.testing.assert_close(discriminator(full, full)[0][:, 0], expected)


def test_every_weight_of_d_has_spectral_norm_1_and_g_has_none() -> None:
    discriminator = build_discriminator(config(ndf=4))
    full = torch.rand(2, 3, 32, 32, generator=rng())
    for _ in range(200):  # each use improves the vectors
        discriminator(full, full)
    discriminator.eval()
    layers = [layer for layer in discriminator.modules() if isinstance(layer, nn.Conv2d)]
    assert len(layers) == 2 * 4 + 2 + 1
    for layer in layers:
        value = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
        assert float(value) == pytest.approx(1, abs=1e-3)
    for plain in (build_generator(config()), build_discriminator(config(spectral_norm=False))):
        assert not any(nn.utils.parametrize.is_parametrized(layer) for layer in plain.modules())


def test_the_trunk_and_the_logits_share_their_norms() -> None:
    """A use of the trunk improves the vectors of the trunk only."""
    discriminator = build_discriminator(config(resolution=64, self_supervision="contrastive"))
    discriminator.to(memory_format=torch.channels_last)
    full = torch.rand(2, 3, 64, 64, generator=rng())

    def moved(use: Any) -> set[str]:
        before = {name: b.clone() for name, b in discriminator.named_buffers()}
        use()
        now = dict(discriminator.named_buffers())
        names = (name for name, b in before.items() if not torch.equal(b, now[name]))
        return {".".join(name.split(".")[:2]) for name in names}

    trunk = {f"blocks.{index}" for index in range(3)}
    assert moved(lambda: discriminator.trunk(full)) == trunk
    assert moved(lambda: discriminator.embed(full)) == trunk | {"projection.1", "projection.3"}
    blocks = {f"blocks.{index}" for index in range(5)}
    assert moved(lambda: discriminator(full, full)) == blocks | {"head.parametrizations"}


def test_weights_are_glorot_uniform_and_the_seed_alone_decides_them() -> None:
    for build in (build_generator, build_discriminator):
        before = torch.get_rng_state()
        first, same, other = (build(published(32), rng(seed)) for seed in (4, 4, 5))
        assert torch.equal(torch.get_rng_state(), before)
        for layer in first.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                receptive = math.prod(layer.weight.shape[2:])
                limit = math.sqrt(6 / (sum(layer.weight.shape[:2]) * receptive))
                assert float(layer.weight.detach().abs().max()) <= limit
                assert float(layer.weight.detach().std()) == pytest.approx(limit / 3**0.5, rel=0.1)
                assert not layer.bias.detach().any()
        states = [network.state_dict() for network in (first, same, other)]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_a_sample_does_not_depend_on_its_batch() -> None:
    generator = alive(build_generator(config()))
    z_BZ = torch.randn(4, 8, generator=rng())
    alone = torch.cat([generator(z[None])[0] for z in z_BZ])
    torch.testing.assert_close(generator(z_BZ)[0], alone, rtol=1e-4, atol=1e-5)
    assert alone.std(0).max() > 0.01


def test_gradient_penalty_reaches_the_weights() -> None:
    discriminator = build_discriminator(config())
    full = torch.rand(4, 3, 32, 32, generator=rng()).requires_grad_()
    zero_centred_penalty(discriminator(full, full)[0], [full]).backward()
    for name, weight in discriminator.named_parameters():
        if name.endswith("original"):
            assert bool(weight.grad.isfinite().all()) and weight.grad.abs().max() > 0, name


def test_dropout_is_off_unless_asked_for() -> None:
    assert config().dropout == 0
    full = torch.rand(2, 3, 32, 32, generator=rng())
    discriminator = build_discriminator(config(d_dropout=0.5)).eval()
    dropped = [discriminator(full, full, rng=rng(seed))[0] for seed in (0, 0, 1)]
    assert torch.equal(dropped[0], dropped[1]) and not torch.equal(dropped[0], dropped[2])


@pytest.mark.parametrize("side", SIDES)
def test_the_estimates_count_its_weights(side: int) -> None:
    run = tiny.config(**{"model.architecture": "sngan", "model.resolution": side, "model.ngf": 32})
    weights = COUNTS["sngan"](run, False)[0]
    networks = build_generator(run.model), build_discriminator(run.model)
    assert weights == pytest.approx(sum(map(count, networks)), rel=0.1)
    wider = tiny.config(**{"model.architecture": "sngan", "model.resolution": side})
    assert training_gb(wider, False) < training_gb(run, False)
    assert gflop_per_image(wider) < gflop_per_image(run)


def test_it_trains_is_measured_and_can_be_loaded(tmp_path) -> None:
    rows = tiny.rows_of(tmp_path, **{"model.architecture": "sngan"})
    assert math.isfinite(rows[-1]["fd_efficientnet_lite0"])
    assert "loss/reconstruction" not in rows[-1]
    generator, loaded = checkpoint.load_generator(next(tmp_path.glob("run/checkpoint-*")))
    assert loaded.model.architecture == "sngan"
    assert generator(torch.zeros(1, 8))[0].shape == (1, 3, 32, 32)
