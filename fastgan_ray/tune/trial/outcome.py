"""How a trial ended: the outcome and the reason that an exception stands for."""

from __future__ import annotations

import sys

from fastgan_ray.errors import DivergedError, UserError
from fastgan_ray.tune.ray.compat import LOW_ON_MEMORY
from fastgan_ray.tune.trial.folder import Outcome

LONGEST_REASON = 300
OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate",
    LOW_ON_MEMORY,
)


def classify(error: BaseException) -> tuple[Outcome, str]:
    """Return the outcome and the reason of a trial that an exception ended."""
    reason = str(error) or type(error).__name__
    if isinstance(error, DivergedError):
        return "diverged", reason
    if is_out_of_memory(error):
        return "out_of_memory", " ".join(reason.split())[:LONGEST_REASON]
    return "failed", reason if isinstance(error, UserError) else f"{type(error).__name__}: {reason}"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether a device or the machine had no memory left."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(phrase in text for phrase in OUT_OF_MEMORY)
