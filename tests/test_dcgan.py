"""The DCGAN baseline: sizes and layers of the Keras example, FastGAN's interface."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
import tiny
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.models import (
    ARCHITECTURES,
    build_discriminator,
    build_generator,
    small_resolution,
)
from fastgan_ray.models.discriminator_norms import Shift
from fastgan_ray.search.cost.estimate import gflop_per_image
from fastgan_ray.train import checkpoint
from fastgan_ray.train.d_reconstruction import d_reconstruction
from fastgan_ray.train.losses import zero_centred_penalty
from fastgan_ray.train.perceptual import DISTANCES

KERAS: dict[str, Any] = {"architecture": "dcgan", "resolution": 64, "nz": 64}


def config(**fields: Any) -> ModelConfig:
    small = {"dcgan_width": 4, "dcgan_depth": 3, "resolution": 32, "nz": 8}
    return ModelConfig.model_validate({**KERAS, **small, **fields})


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def count(network: nn.Module, moving: bool = False) -> int:
    trained = sum(parameter.numel() for parameter in network.parameters())
    statistics = sum(b.numel() for name, b in network.named_buffers() if "running" in name)
    return trained + moving * statistics


def pictures(count: int = 4, side: int = 32) -> tuple[Tensor, Tensor]:
    full = torch.rand(count, 3, side, side, generator=rng(2)) * 2 - 1
    return full, torch.zeros(count, 3, side // 2, side // 2)


def test_sizes_are_those_of_the_example():
    model = ModelConfig.model_validate(KERAS)
    generator, discriminator = build_generator(model), build_discriminator(model)
    assert (count(generator), count(discriminator)) == (926_083, 795_137)
    assert (count(generator, True), count(discriminator, True)) == (930_947, 796_161)


def test_table_and_schema_have_the_same_names():
    assert tuple(ARCHITECTURES) == get_args(ModelConfig.model_fields["architecture"].annotation)


@pytest.mark.parametrize("depth", [3, 4, 5])
def test_every_depth_makes_its_resolution_and_uses_every_parameter(depth):
    side = 4 * 2**depth
    model = config(dcgan_depth=depth, resolution=side)
    generator, discriminator = build_generator(model), build_discriminator(model)
    full, small = generator(torch.randn(2, 8, generator=rng()), rng())
    assert full.shape == (2, 3, side, side)
    assert small.shape == (2, 3, *[small_resolution(side)] * 2)
    assert torch.equal(small, full[:, :, ::2, ::2])
    assert full.abs().max() <= 1
    logits, reconstructions = discriminator(full, small, 0, rng())
    assert logits.shape == (2, 1)
    assert reconstructions == {}
    assert discriminator.trunk(full).shape == (2, 4, 8, 8)
    logits.square().mean().backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert bool(parameter.grad.isfinite().all()), name


@pytest.mark.parametrize(
    "fields", [{"resolution": 64}, {"dcgan_depth": 4}, {"resolution": 256, "dcgan_depth": 4}]
)
def test_another_resolution_is_refused_with_the_rule(fields):
    with pytest.raises(ValidationError, match=r"resolution must be 4 \* 2\^dcgan_depth = \d+ \(go"):
        config(**fields)


def test_the_rule_is_not_fastgans():
    ModelConfig(resolution=256, dcgan_depth=4)


def test_weights_are_glorot_uniform_and_norms_have_no_scale():
    model = ModelConfig.model_validate(KERAS)
    generator, discriminator = build_generator(model, rng()), build_discriminator(model, rng())
    for layer in (*generator.modules(), *discriminator.modules()):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            receptive = math.prod(layer.weight.shape[2:])
            limit = math.sqrt(6 / (sum(layer.weight.shape[:2]) * receptive))
            assert 0.97 * limit < float(layer.weight.detach().abs().max()) <= limit
            assert float(layer.weight.detach().std()) == pytest.approx(limit / 3**0.5, rel=0.05)
            assert layer.bias is None or not layer.bias.detach().any()
            assert not nn.utils.parametrize.is_parametrized(layer)
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.weight is None
            assert not layer.bias.detach().any()
            assert (layer.eps, layer.momentum) == (1e-3, 0.01)
    assert generator.to_full.bias is not None
    assert discriminator.head.bias is not None


@pytest.mark.parametrize("way", ["nearest", "bilinear"])
def test_upsampling_is_interpolation_before_a_convolution(way):
    model = config(dcgan_upsampling=way, output_activation="none")
    generator = build_generator(model).eval()
    z_BZ = torch.randn(2, 8, generator=rng())
    x = functional.relu(generator.stem_norm(generator.stem(z_BZ)[:, :, None, None]))
    x = x.view(2, 4, 4, 4)
    for conv, norm in zip(generator.blocks[1::4], generator.blocks[2::4], strict=True):
        x = functional.interpolate(x, scale_factor=2, mode=way)
        x = norm(functional.conv2d(x, conv.weight, padding=1)).relu()
    last = generator.to_full[1]
    x = functional.interpolate(x, scale_factor=2, mode=way)
    x = functional.conv2d(x, last.weight, last.bias, padding=1)
    torch.testing.assert_close(generator(z_BZ)[0], x)


def test_normal_weights_are_those_of_the_paper_on_dcgan():
    model = ModelConfig.model_validate({**KERAS, "dcgan_init": "normal"})
    for network in (build_generator(model, rng()), build_discriminator(model, rng())):
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
                assert layer.bias is None or not layer.bias.detach().any()


@pytest.mark.parametrize("architecture", [{}, {"architecture": "fastgan"}])
def test_without_batch_norm_a_logit_does_not_depend_on_the_batch(architecture):
    small = {"ndf": 4, "ngf": 4, "d_dropout": 0.0, "spectral_norm": False, **architecture}
    full, half = pictures()
    with_norm, without = (
        build_discriminator(config(**small, d_norm=kind)).train() for kind in ("batch", "none")
    )
    alone = torch.cat([without(full[i : i + 1], half[i : i + 1])[0] for i in range(4)])
    torch.testing.assert_close(without(full, half)[0], alone)
    judged_together = with_norm(full, half)[0]
    first_two = with_norm(full[:2], half[:2])[0]
    assert not torch.allclose(judged_together[:2], first_two)
    shifts = [module for module in without.modules() if isinstance(module, Shift)]
    norms = [module for module in with_norm.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [module for module in without.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(shifts) + len(kept) == len(norms)
    assert shifts and bool(kept) == bool(architecture)  # of FastGAN's decoders


@pytest.mark.parametrize("architecture", ["dcgan", "fastgan"])
def test_the_slope_of_d_is_a_field(architecture):
    slopes = {
        module.negative_slope
        for module in build_discriminator(
            config(architecture=architecture, d_slope=0.1, ndf=4)
        ).modules()
        if isinstance(module, nn.LeakyReLU)
    }
    assert slopes == {0.1}


def test_the_seed_alone_decides_the_weights():
    for build in (build_generator, build_discriminator):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = build(config(), rng(4)).state_dict()
        assert torch.equal(torch.get_rng_state(), before)
        second, other = (build(config(), rng(seed)).state_dict() for seed in (4, 5))
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_norm_is_a_shift_of_what_has_mean_0_and_variance_1():
    norm = build_generator(config()).stem_norm
    nn.init.constant_(norm.bias, 0.5)
    x = torch.randn(16, 64, 1, 1, generator=rng())
    mean, variance = x.mean(dim=0), x.var(dim=0, unbiased=False)
    torch.testing.assert_close(norm(x), (x - mean) / (variance + 1e-3).sqrt() + 0.5)


def test_dropout_is_four_tenths_by_default():
    assert ModelConfig().dropout == 0
    assert config().dropout == 0.4
    assert config(d_dropout=0.0).dropout == 0
    discriminator = build_discriminator(config()).eval()
    full, small = pictures()
    assert torch.equal(discriminator(full, small)[0], discriminator(full, small)[0])
    dropped = [discriminator(full, small, rng=rng(seed))[0] for seed in (0, 0, 1)]
    assert torch.equal(dropped[0], dropped[1])
    assert not torch.equal(dropped[0], dropped[2])
    off = build_discriminator(config(d_dropout=0.0)).eval()
    assert torch.equal(off(full, small, rng=rng())[0], off(full, small)[0])


def test_output_activation():
    z_BZ = torch.randn(2, 8, generator=rng())
    bounded = build_generator(config())(z_BZ)
    plain = build_generator(config(output_activation="none"))(z_BZ)
    assert all(torch.equal(a, b.tanh()) for a, b in zip(bounded, plain, strict=True))


def test_a_sample_does_not_depend_on_its_batch():
    generator = build_generator(config()).eval()
    z_BZ = torch.randn(4, 8, generator=rng())
    alone = torch.cat([generator(z[None])[0] for z in z_BZ])
    torch.testing.assert_close(generator(z_BZ)[0], alone, rtol=1e-4, atol=1e-6)


def test_gradient_penalty_reaches_the_weights():
    discriminator = build_discriminator(config())
    full = pictures()[0].requires_grad_()
    logits, _ = discriminator(full, full)
    zero_centred_penalty(logits, [full]).backward()
    weight = discriminator.blocks[0][0].weight
    assert bool(weight.grad.isfinite().all())
    assert weight.grad.abs().max() > 0


@pytest.mark.parametrize("kind", ["ae", "contrastive", "ae_contrastive", "none"])
def test_it_contrasts_but_never_decodes(kind):
    discriminator = build_discriminator(config(self_supervision=kind))
    full, small = pictures()
    assert discriminator(full, small, part=0)[1] == {}
    assert (discriminator.projection is not None) == ("contrastive" in kind)
    if discriminator.projection is not None:
        assert discriminator.embed(full).shape == (4, 128)


DCGAN = {"model.architecture": "dcgan", "model.dcgan_width": 4, "model.dcgan_depth": 3}


def run_config(**changes: Any) -> RunConfig:
    return tiny.config(**DCGAN | changes)


def test_d_reconstruction_of_its_trunk():
    images = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), dtype=np.uint8)
    cpu = torch.device("cpu")
    discriminator = build_discriminator(config())
    assert 0 < d_reconstruction(discriminator, images, DISTANCES["l1"](cpu), 2, 1, cpu) < 2


def test_cost_differs_from_fastgans():
    assert gflop_per_image(run_config()) == gflop_per_image(run_config(**{"model.ngf": 64}))
    assert gflop_per_image(run_config(**{"model.dcgan_width": 8})) > gflop_per_image(run_config())


def test_it_trains_is_measured_and_can_be_loaded(tmp_path):
    rows = tiny.rows_of(tmp_path, **DCGAN)
    assert math.isfinite(rows[-1]["fd_efficientnet_lite0"])
    assert "loss/reconstruction" not in rows[-1]
    generator, loaded = checkpoint.load_generator(next(tmp_path.glob("run/checkpoint-*")))
    assert loaded.model.architecture == "dcgan"
    assert generator(torch.zeros(1, 8))[0].shape == (1, 3, 32, 32)
