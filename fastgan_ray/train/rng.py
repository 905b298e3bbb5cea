"""Named random generators: every stochastic part of a run draws from its own seeded stream."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch

CPU = torch.device("cpu")
# Their states are part of a checkpoint, the same on every device.
CPU_STREAMS = (
    "init",
    "data",
    "latents",
    "augment",
    "labels",
    "part",
    "interpolates",
    "contrastive",
)
# Drawn in the size of features, so on the device where they are used, whose generators have states
# of their own kind. Each step seeds them again, so that no later step depends on these states.
DEVICE_STREAMS = ("noise", "dropout")


def seeded(seed: int, name: str, device: torch.device = CPU) -> torch.Generator:
    """Make a generator for the stream `name` of a run's `seed`; streams are independent."""
    return torch.Generator(device).manual_seed(_stream_seed(seed, name))


def streams(seed: int, device: torch.device) -> dict[str, torch.Generator]:
    """Make all of a run's streams by name: `DEVICE_STREAMS` on `device`, the others on the CPU."""
    return {
        **{name: seeded(seed, name) for name in CPU_STREAMS},
        **{name: seeded(seed, name, device) for name in DEVICE_STREAMS},
    }


def seed_device_streams(rngs: Mapping[str, torch.Generator], seed: int, step: int) -> None:
    """Start the streams on the device for step `step` of a run with `seed`.

    What they draw is a function of the seed, the name, the step and the kind of device.
    """
    for name in DEVICE_STREAMS:
        rngs[name].manual_seed(_stream_seed(seed, f"{name} {step}"))


def _stream_seed(seed: int, name: str) -> int:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
