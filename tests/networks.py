"""The smallest networks, and what goes through them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.models import (
    Discriminator,
    Generator,
    build_discriminator,
    build_generator,
    small_resolution,
)


def config(**fields: Any) -> ModelConfig:
    return ModelConfig.model_validate({"resolution": 64, "ngf": 2, "ndf": 2, "nz": 8, **fields})


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def latents(config: ModelConfig, count: int = 2) -> Tensor:
    return torch.randn(count, config.nz, generator=rng(1))


def pictures(config: ModelConfig, count: int = 2) -> tuple[Tensor, Tensor]:
    side = config.resolution
    full = torch.rand(count, 3, side, side, generator=rng(2)) * 2 - 1
    return full, functional.interpolate(full, size=small_resolution(side), mode="area")


def assert_all_used(network: nn.Module) -> None:
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{name} is not used"
        assert parameter.grad.isfinite().all(), name


def exercise(config: ModelConfig) -> tuple[Generator, Discriminator]:
    """One forward and backward of both networks; every parameter takes part."""
    count = 2 if config.resolution <= 256 else 1  # time
    generator, discriminator = build_generator(config), build_discriminator(config)
    full, small = generator(latents(config, count), rng())
    assert full.shape == (count, 3, config.resolution, config.resolution)
    assert small.shape == (count, 3, *[small_resolution(config.resolution)] * 2)
    if config.output_activation == "tanh":
        assert max(full.abs().max(), small.abs().max()) <= 1
    (full.square().mean() + small.square().mean()).backward()
    assert_all_used(generator)
    logits, reconstructions = discriminator(full.detach(), small.detach(), part=1)
    assert logits.shape == (count, 50 if config.d_small else 25)
    side = min(128, config.resolution)
    for picture in reconstructions.values():
        assert picture.shape == (count, 3, side, side)
        assert picture.abs().max() <= 1
    (logits.mean() + sum(r.square().mean() for r in reconstructions.values())).backward()
    assert_all_used(discriminator)
    return generator, discriminator
