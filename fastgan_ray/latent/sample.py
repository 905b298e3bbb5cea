"""Pictures from a generator, one for each seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from fastgan_ray.errors import UserError
from fastgan_ray.progress import Track, silently

_MOST_SEEDS = 100_000
_BATCH = 16


def latent(seed: int, nz: int) -> Tensor:
    """The latent (nz,) of a seed, drawn on the CPU: the same on every device."""
    return torch.randn(nz, generator=torch.Generator().manual_seed(seed))


def latents(seeds: Sequence[int], nz: int, truncation: float = 1.0) -> Tensor:
    """The latents (len(seeds), nz) of seeds, scaled by `truncation`, on the CPU."""
    return truncation * torch.stack([latent(seed, nz) for seed in seeds])


def pictures(
    generator: nn.Module, z_NZ: Tensor, batch: int = _BATCH, track: Track = silently
) -> Iterator[Tensor]:
    """Full-size pictures of latents, (up to `batch`, 3, R, R) at a time: in [-1, 1], on the CPU."""
    device = next(generator.parameters()).device
    for z_BZ in track(torch.split(z_NZ, batch), "drawing"):
        with torch.inference_mode():
            full_BCHW = generator(z_BZ.to(device))[0].clamp(-1, 1).cpu()
        yield full_BCHW


def sample(
    generator: nn.Module,
    nz: int,
    seeds: Sequence[int],
    truncation: float = 1.0,
    batch: int = _BATCH,
    track: Track = silently,
) -> Tensor:
    """Full-size pictures (len(seeds), 3, R, R) in [-1, 1]; latents are scaled by `truncation`."""
    return torch.cat(list(pictures(generator, latents(seeds, nz, truncation), batch, track)))


def parse_seeds(text: str, option: str = "--seeds") -> list[int]:
    """ "0-3,8" to [0, 1, 2, 3, 8]; `option` is what an error names."""
    ranges: list[range] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise UserError(f"{option}: must be numbers and ranges such as 0-35,99 (got {text!r})")
        ranges.append(range(int(first), int(last or first) + 1))
    # Counted before they are listed: a range can be longer than the memory.
    count = sum(each.stop - each.start for each in ranges)
    empty = any(each.stop <= each.start for each in ranges)
    if empty or count > _MOST_SEEDS or max(each.stop for each in ranges) > 2**63:
        raise UserError(
            f"{option}: must name 1 to {_MOST_SEEDS:,} seeds below 2^63, ranges from the smaller "
            f"to the larger (got {text!r})"
        )
    return [seed for each in ranges for seed in each]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
