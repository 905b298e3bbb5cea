"""Generate pictures from seeds or latents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from fastgan_ray.errors import UserError
from fastgan_ray.models.stylegan2 import StyleGan2Generator
from fastgan_ray.progress import Track, silently

BATCH = 16


def latent(seed: int, nz: int) -> Tensor:
    """Draw the latent (nz,) of a seed on the CPU, so that all devices get the same latent."""
    return torch.randn(nz, generator=torch.Generator().manual_seed(seed))


def require_truncation(generator: nn.Module, truncation: float) -> None:
    """Raise UserError if `generator` is a StyleGAN2 and `truncation` is not 1."""
    if truncation != 1 and isinstance(generator, StyleGan2Generator):
        raise UserError(
            "truncation must be 1 for model.architecture stylegan2, because this architecture "
            f"ignores the length of a latent (got {truncation:g})"
        )


def latents(seeds: Sequence[int], nz: int, truncation: float = 1.0) -> Tensor:
    """Return the latents of `seeds`, multiplied by `truncation`: (len(seeds), nz), on the CPU.

    Raise ValueError if there is no seed, or if a seed is negative.
    """
    if not len(seeds) or min(seeds) < 0:
        raise ValueError(f"seeds: must be one or more integers from 0 (got {list(seeds)})")
    return truncation * torch.stack([latent(seed, nz) for seed in seeds])


def generate(generator: nn.Module, z_NZ: Tensor, track: Track = silently) -> Iterator[Tensor]:
    """Generate a full-size picture for each latent in `z_NZ`.

    Yield batches (B, C, H, W) in [-1, 1], on the CPU.
    """
    device = next(generator.parameters()).device
    for z_BZ in track(torch.split(z_NZ, BATCH), "drawing"):
        with torch.inference_mode():
            full_BCHW = generator(z_BZ.to(device))[0].clamp(-1, 1).cpu()
        yield full_BCHW


def sample(
    generator: nn.Module,
    nz: int,
    seeds: Sequence[int],
    truncation: float = 1.0,
    track: Track = silently,
) -> Tensor:
    """Generate a full-size picture for each seed: (len(seeds), C, H, W) in [-1, 1], on the CPU.

    `nz` is the length of a latent, and `truncation` is a factor for the latents.
    """
    return torch.cat(list(generate(generator, latents(seeds, nz, truncation), track)))
