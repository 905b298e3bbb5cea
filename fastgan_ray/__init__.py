"""Hyperparameter search and ablation for few-shot GANs: FastGAN on Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastgan_ray.latent.generator import Generator

__all__ = ["Generator", "__version__"]
__version__ = "0.1.0"  # the only place of the version: the build and the reports read it here


def __getattr__(name: str) -> type[Generator]:
    """Import `Generator` at its first use, so that importing the package does not import torch."""
    if name == "Generator":
        from fastgan_ray.latent.generator import Generator

        return Generator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
