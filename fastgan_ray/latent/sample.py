"""Pictures from seeds or latents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from fastgan_ray.errors import UserError
from fastgan_ray.progress import Track, silently

MAX_SEEDS = 100_000
BATCH = 16


def latent(seed: int, nz: int) -> Tensor:
    """Return the latent (nz,) of a seed; it is drawn on the CPU, to be the same for all devices."""
    return torch.randn(nz, generator=torch.Generator().manual_seed(seed))


def latents(seeds: Sequence[int], nz: int, truncation: float = 1.0) -> Tensor:
    """Return the latents (len(seeds), nz) of seeds, multiplied by `truncation`, on the CPU."""
    return truncation * torch.stack([latent(seed, nz) for seed in seeds])


def generate(generator: nn.Module, z_NZ: Tensor, track: Track = silently) -> Iterator[Tensor]:
    """Generate full-size pictures; yield batches (n, 3, R, R) in [-1, 1], on the CPU."""
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
    """Generate full-size pictures (len(seeds), 3, R, R) in [-1, 1] from seeds, on the CPU."""
    return torch.cat(list(generate(generator, latents(seeds, nz, truncation), track)))


def parse_seeds(text: str, option: str = "--seeds") -> list[int]:
    """Parse seeds: "0-3,8" -> [0, 1, 2, 3, 8].

    Raise UserError if `text` is not valid; the message names the command's `option`.
    """
    ranges: list[range] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise UserError(f"{option}: must be numbers and ranges such as 0-35,99 (got {text!r})")
        ranges.append(range(int(first), int(last or first) + 1))
    # Count the seeds before listing them, because a long range can exceed the memory.
    count = sum(part.stop - part.start for part in ranges)
    empty = any(part.stop <= part.start for part in ranges)
    if empty or count > MAX_SEEDS or max(part.stop for part in ranges) > 2**63:
        raise UserError(
            f"{option}: must name 1 to {MAX_SEEDS:,} seeds below 2^63, each range from its lowest "
            f"to its highest seed (got {text!r})"
        )
    return [seed for part in ranges for seed in part]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
