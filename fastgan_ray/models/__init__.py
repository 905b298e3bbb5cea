"""FastGAN's networks."""

from fastgan_ray.models.blocks import small_resolution
from fastgan_ray.models.generator import Generator, build_generator

__all__ = ["Generator", "build_generator", "small_resolution"]
