"""Hyperparameter search and ablation for few-shot GANs: FastGAN on Ray."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastgan_ray.augment.functional import DiffAugment
    from fastgan_ray.augment.registered import register, unregister
    from fastgan_ray.latent.generator import Generator

__all__ = ["DiffAugment", "Generator", "__version__", "register", "unregister"]
__version__ = "0.1.0"  # the only place of the version: the build and the reports read it here

# The public names, and the module of each.
_MODULES = {
    "DiffAugment": "fastgan_ray.augment.functional",
    "Generator": "fastgan_ray.latent.generator",
    "register": "fastgan_ray.augment.registered",
    "unregister": "fastgan_ray.augment.registered",
}


def __getattr__(name: str) -> object:
    """Import a public name at its first use, so that importing the package does not import torch.

    Raises AttributeError for an unknown name.
    """
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, also those that are not imported yet."""
    return sorted({*globals(), *__all__})
