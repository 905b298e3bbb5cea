"""Build the generator and the discriminator of FastGAN, DCGAN, SNGAN and StyleGAN2.

DCGAN is a baseline. SNGAN and StyleGAN2 are the networks of the experiments with Re-GAN.
"""

from fastgan_ray.models.architectures import ARCHITECTURES, build_discriminator, build_generator
from fastgan_ray.models.base import AnyDiscriminator, AnyGenerator
from fastgan_ray.models.blocks import small_resolution, small_size
from fastgan_ray.models.decoders import build_decoder, crop_part
from fastgan_ray.models.discriminator import Discriminator
from fastgan_ray.models.generator import Generator
from fastgan_ray.models.gradient_checkpointing import checkpoint_gradients
from fastgan_ray.models.sync_batchnorm import distribute

__all__ = [
    "ARCHITECTURES",
    "AnyDiscriminator",
    "AnyGenerator",
    "Discriminator",
    "Generator",
    "build_decoder",
    "build_discriminator",
    "build_generator",
    "checkpoint_gradients",
    "crop_part",
    "distribute",
    "small_resolution",
    "small_size",
]
