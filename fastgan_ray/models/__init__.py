"""FastGAN's networks."""

from fastgan_ray.models.blocks import small_resolution
from fastgan_ray.models.discriminator import (
    Discriminator,
    build_decoder,
    build_discriminator,
    crop_part,
)
from fastgan_ray.models.generator import Generator, build_generator

__all__ = [
    "Discriminator",
    "Generator",
    "build_decoder",
    "build_discriminator",
    "build_generator",
    "crop_part",
    "small_resolution",
]
