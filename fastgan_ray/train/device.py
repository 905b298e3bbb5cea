"""Which device and number format a run uses."""

from __future__ import annotations

import torch

from fastgan_ray.config.schema import TrainConfig
from fastgan_ray.errors import UserError


def choose_device(wish: str) -> torch.device:
    """The device named, or for "auto" the best that this machine has."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wish == "auto":
        return torch.device(next(name for name, here in available.items() if here))
    if not available[wish]:
        here = ", ".join(name for name, found in available.items() if found)
        raise UserError(f"train.device: {wish} is not available here (available: {here})")
    return torch.device(wish)


def use_bf16(config: TrainConfig, device: torch.device) -> bool:
    """Whether to autocast to bfloat16: as asked; for "auto", on GPUs that compute in it."""
    if config.precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return config.precision == "bf16"
