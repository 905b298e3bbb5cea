"""Hyperparameter search and ablation for few-shot GANs: FastGAN on Ray."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastgan_ray.augment.functional import AdaptiveAugment, DiffAugment
    from fastgan_ray.augment.registered import register, unregister
    from fastgan_ray.latent.discriminator import Discriminator
    from fastgan_ray.latent.generator import Generator
    from fastgan_ray.metrics.functional import (
        frechet_distance,
        kernel_distance,
        precision_recall_density_coverage,
    )
    from fastgan_ray.models.blocks import skip_layer_excitation
    from fastgan_ray.train import losses

__all__ = [
    "AdaptiveAugment",
    "DiffAugment",
    "Discriminator",
    "Generator",
    "__version__",
    "frechet_distance",
    "kernel_distance",
    "losses",
    "precision_recall_density_coverage",
    "register",
    "skip_layer_excitation",
    "unregister",
]
__version__ = "0.1.0"  # the only place of the version: the build and the reports read it here

# The public names, and the module of each.
_MODULES = {
    "AdaptiveAugment": "fastgan_ray.augment.functional",
    "DiffAugment": "fastgan_ray.augment.functional",
    "Discriminator": "fastgan_ray.latent.discriminator",
    "Generator": "fastgan_ray.latent.generator",
    "frechet_distance": "fastgan_ray.metrics.functional",
    "kernel_distance": "fastgan_ray.metrics.functional",
    "losses": "fastgan_ray.train.losses",
    "precision_recall_density_coverage": "fastgan_ray.metrics.functional",
    "register": "fastgan_ray.augment.registered",
    "skip_layer_excitation": "fastgan_ray.models.blocks",
    "unregister": "fastgan_ray.augment.registered",
}


def __getattr__(name: str) -> object:
    """Import a public name at its first use, so that importing the package does not import torch.

    Raises AttributeError for an unknown name.
    """
    if name in _MODULES:
        module = importlib.import_module(_MODULES[name])
        return module if name == "losses" else getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, also those that are not imported yet."""
    return sorted({*globals(), *__all__})
