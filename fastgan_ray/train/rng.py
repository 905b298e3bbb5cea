"""Named random generators: every stochastic part of a run draws from its own seeded stream."""

from __future__ import annotations

import hashlib

import torch

CPU = torch.device("cpu")
# Drawn in the size of features, so where they are used; the others on the CPU.
DEVICE_STREAMS = ("noise", "dropout")
STREAMS = (
    "init",
    "data",
    "latents",
    "augment",
    "labels",
    "part",
    "interpolates",
    "contrastive",
    *DEVICE_STREAMS,
)


def seeded(seed: int, name: str, device: torch.device = CPU) -> torch.Generator:
    """A generator for the stream `name` of a run's `seed`; streams are independent."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def streams(seed: int, device: torch.device) -> dict[str, torch.Generator]:
    """All of a run's streams by name, on the CPU but for `DEVICE_STREAMS`."""
    return {name: seeded(seed, name, device if name in DEVICE_STREAMS else CPU) for name in STREAMS}
