"""Which networks a configuration means."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from fastgan_ray.config.run_config import ModelConfig
from fastgan_ray.models.base import AnyDiscriminator
from fastgan_ray.models.dcgan import DcganDiscriminator, DcganGenerator
from fastgan_ray.models.discriminator import fastgan_discriminator
from fastgan_ray.models.generator import fastgan_generator


class Architecture(NamedTuple):
    """How a pair of networks is built, its weights drawn by a generator on the CPU."""

    generator: Callable[[ModelConfig, torch.Generator], nn.Module]
    """Latents (B, nz), noise generator or None -> pictures (full, small)."""
    discriminator: Callable[[ModelConfig, torch.Generator], AnyDiscriminator]


ARCHITECTURES: dict[str, Architecture] = {
    "fastgan": Architecture(fastgan_generator, fastgan_discriminator),
    "dcgan": Architecture(DcganGenerator, DcganDiscriminator),
}


def build_generator(config: ModelConfig, rng: torch.Generator | None = None) -> nn.Module:
    """A freshly initialised generator on the CPU, in training mode.

    `rng` (on the CPU) draws the weights; None is a generator seeded with 0.
    """
    rng = rng or torch.Generator().manual_seed(0)
    return ARCHITECTURES[config.architecture].generator(config, rng)


def build_discriminator(
    config: ModelConfig, rng: torch.Generator | None = None
) -> AnyDiscriminator:
    """A freshly initialised discriminator; as `build_generator`."""
    rng = rng or torch.Generator().manual_seed(0)
    return ARCHITECTURES[config.architecture].discriminator(config, rng)
