"""Hyperparameter search and ablation for few-shot GANs: FastGAN on Ray."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastgan_ray.api.ablation import run_ablation
    from fastgan_ray.api.results import Results, read_results
    from fastgan_ray.api.search import run_search
    from fastgan_ray.api.training import run_training
    from fastgan_ray.augment.functional import AdaptiveAugment, DiffAugment
    from fastgan_ray.augment.user_operations import register, unregister
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
    "Results",
    "__version__",
    "frechet_distance",
    "kernel_distance",
    "losses",
    "precision_recall_density_coverage",
    "read_results",
    "register",
    "run_ablation",
    "run_search",
    "run_training",
    "skip_layer_excitation",
    "unregister",
]
__version__ = "0.1.0"  # defined only here; the build and the reports read it from here

# {public name: the module that defines it}
_MODULES = {
    "AdaptiveAugment": "fastgan_ray.augment.functional",
    "DiffAugment": "fastgan_ray.augment.functional",
    "Discriminator": "fastgan_ray.latent.discriminator",
    "Generator": "fastgan_ray.latent.generator",
    "Results": "fastgan_ray.api.results",
    "frechet_distance": "fastgan_ray.metrics.functional",
    "kernel_distance": "fastgan_ray.metrics.functional",
    "losses": "fastgan_ray.train.losses",
    "precision_recall_density_coverage": "fastgan_ray.metrics.functional",
    "read_results": "fastgan_ray.api.results",
    "register": "fastgan_ray.augment.user_operations",
    "run_ablation": "fastgan_ray.api.ablation",
    "run_search": "fastgan_ray.api.search",
    "run_training": "fastgan_ray.api.training",
    "skip_layer_excitation": "fastgan_ray.models.blocks",
    "unregister": "fastgan_ray.augment.user_operations",
}
# Names that users may try, but that belong to packages and modules: {name: the function to use}.
_FUNCTIONS = {
    "search": "run_search",
    "tune": "run_search",
    "ablate": "run_ablation",
    "train": "run_training",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, because importing torch takes seconds.

    Raises AttributeError for an unknown name.
    """
    if name in _MODULES:
        module = importlib.import_module(_MODULES[name])
        return module if name == "losses" else getattr(module, name)
    hint = f"; did you mean {_FUNCTIONS[name]}?" if name in _FUNCTIONS else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    """List the public names, including those that are not imported yet."""
    return sorted({*globals(), *__all__})
