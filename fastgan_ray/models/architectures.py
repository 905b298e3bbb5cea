"""The list of architectures (ARCHITECTURES); build the networks of a configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from fastgan_ray.config.data import CHANNELS, Mode
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.models.base import AnyDiscriminator, AnyGenerator
from fastgan_ray.models.dcgan import DcganDiscriminator, DcganGenerator
from fastgan_ray.models.discriminator import fastgan_discriminator
from fastgan_ray.models.generator import fastgan_generator
from fastgan_ray.models.projected import ProjectedDiscriminator
from fastgan_ray.models.sngan import SnganDiscriminator, SnganGenerator
from fastgan_ray.models.stylegan2 import StyleGan2Discriminator, StyleGan2Generator

# A value of a setting in section `model`.
Setting = str | float | bool | list[int] | None


class Architecture(NamedTuple):
    """The published name of an architecture, and the functions that build its two networks.

    The arguments of both functions are: the section `model` of the settings, a random number
    generator on the CPU that draws the weights, and the number of channels of a picture.
    """

    title: str
    """The networks' published name."""
    generator: Callable[[ModelConfig, torch.Generator, int], AnyGenerator]
    """Builds G. G maps latents (B, nz), and a random number generator for noise (or None), to
    full-size pictures and small pictures."""
    discriminator: Callable[[ModelConfig, torch.Generator, int], AnyDiscriminator]
    """Builds D."""


ARCHITECTURES: dict[str, Architecture] = {
    "fastgan": Architecture("FastGAN", fastgan_generator, fastgan_discriminator),
    "dcgan": Architecture("DCGAN", DcganGenerator, DcganDiscriminator),
    "sngan": Architecture("SNGAN", SnganGenerator, SnganDiscriminator),
    "stylegan2": Architecture("StyleGAN2", StyleGan2Generator, StyleGan2Discriminator),
}


def build_generator(
    config: ModelConfig, rng: torch.Generator | None = None, picture_channels: int = 3
) -> AnyGenerator:
    """Build a newly initialised generator on the CPU, in training mode.

    `rng` (on the CPU) draws the weights. If it is None, a random number generator with seed 0 draws
    them. `picture_channels` is 1, 3 or 4, see `data.mode`.
    """
    rng = rng or torch.Generator().manual_seed(0)
    return ARCHITECTURES[config.architecture].generator(config, rng, picture_channels)


def build_discriminator(
    config: ModelConfig, rng: torch.Generator | None = None, picture_channels: int = 3
) -> AnyDiscriminator:
    """Build a newly initialised discriminator on the CPU, in training mode.

    The arguments have the same meaning as in `build_generator`.
    """
    rng = rng or torch.Generator().manual_seed(0)
    if config.projects:
        return ProjectedDiscriminator(config, rng, picture_channels)
    return ARCHITECTURES[config.architecture].discriminator(config, rng, picture_channels)


def picture_channels(mode: Mode) -> int:
    """Return the number of channels of a picture with this `data.mode`.

    Raises ValueError if the mode is unknown.
    """
    if mode not in CHANNELS:
        raise ValueError(f"mode must be one of {', '.join(CHANNELS)} (got {mode})")
    return CHANNELS[mode]
