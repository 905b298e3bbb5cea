"""Pictures from a generator, one for each seed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fastgan_ray.errors import UserError


def latent(seed: int, nz: int) -> Tensor:
    """The latent (nz,) of a seed, drawn on the CPU: the same on every device."""
    return torch.randn(nz, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def sample(
    generator: nn.Module, nz: int, seeds: Sequence[int], truncation: float = 1.0, batch: int = 16
) -> Tensor:
    """Full-size pictures (len(seeds), 3, R, R) in [-1, 1]; latents are scaled by `truncation`."""
    z_BZ = truncation * torch.stack([latent(seed, nz) for seed in seeds])
    device = next(generator.parameters()).device
    return torch.cat(
        [generator(z.to(device))[0].clamp(-1, 1).cpu() for z in torch.split(z_BZ, batch)]
    )


def parse_seeds(text: str) -> list[int]:
    """ "0-3,8" to [0, 1, 2, 3, 8]."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise UserError(f"--seeds: must be numbers and ranges such as 0-35,99 (got {text!r})")
        seeds.extend(range(int(first), int(last or first) + 1))
    if not 0 < len(seeds) <= 100_000 or max(seeds) >= 2**63:
        raise UserError(f"--seeds: must name 1 to 100,000 seeds below 2^63 (got {text!r})")
    return seeds
