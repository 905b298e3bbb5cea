"""Create a run's random number generators: one seeded generator for each kind of random choice.

A generator is called a stream and has a name, such as "latents".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch

CPU = torch.device("cpu")
# A checkpoint stores the states of these streams; they are the same on every device.
CPU_STREAMS = (
    "init",
    "data",
    "latents",
    "augment",
    "labels",
    "part",
    "interpolates",
    "contrastive",
    "consistency",
    "mixtures",
    "instances",
)
# Older checkpoints lack these streams; the trainings that wrote them did not use the streams.
ADDED_STREAMS = ("consistency", "mixtures", "instances")
# These streams draw tensors as large as feature maps, so they draw on the training's device. The
# state of such a generator cannot be moved to another kind of device. So these streams are seeded
# again at each step, and checkpoints do not store their states.
DEVICE_STREAMS = ("noise", "dropout", "instance_noise")


def seeded(seed: int, name: str, device: torch.device = CPU) -> torch.Generator:
    """Return a generator on `device` for the stream `name` of a run with `seed`.

    Generators with different names are independent.
    """
    return torch.Generator(device).manual_seed(_stream_seed(seed, name))


def streams(seed: int, device: torch.device) -> dict[str, torch.Generator]:
    """Return all generators of a run by name: DEVICE_STREAMS on `device`, the others on the CPU."""
    return {
        **{name: seeded(seed, name) for name in CPU_STREAMS},
        **{name: seeded(seed, name, device) for name in DEVICE_STREAMS},
    }


def seed_device_streams(rngs: Mapping[str, torch.Generator], seed: int, step: int) -> None:
    """Seed the generators on the device for the step `step` of a run with `seed`.

    The numbers that they draw depend only on the seed, the name, the step and the kind of device.
    """
    for name in DEVICE_STREAMS:
        rngs[name].manual_seed(_stream_seed(seed, f"{name} {step}"))


def _stream_seed(seed: int, name: str) -> int:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
