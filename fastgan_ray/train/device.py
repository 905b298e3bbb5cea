"""Which device and number format a run uses, and how its memory is kept."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from fastgan_ray.arithmetic import float32_arithmetic
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.training import CPU_BF16_FROM_PX
from fastgan_ray.errors import UserError
from fastgan_ray.torch_compat import cpu_multiplies_bf16

BF16_CAPABILITY = (8, 0)  # the first GPUs that multiply bfloat16 (Ampere)
# Names of the C library's settings (mallopt(3)): when to hand memory back, how often to map it.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_PEAK = "5"  # what clear_refs (proc(5)) takes for it


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


def device_of(config: RunConfig) -> torch.device:
    """Return the device of a run; "auto" is the CPU where `resources.gpus` is 0."""
    without_gpu = config.resources.gpus == 0 and config.train.device == "auto"
    return choose_device("cpu" if without_gpu else config.train.device)


def limit_gpu_memory(share: float) -> None:
    """Limit this process to its share of each GPU's memory, so that a training that needs more runs
    out of memory itself, and not its neighbour on the same GPU. `share` of 1 or more: no limit."""
    if 0 < share < 1 and torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            torch.cuda.set_per_process_memory_fraction(share, index)


def use_bf16(config: RunConfig, device: torch.device) -> bool:
    """Decide whether to autocast to bfloat16: as asked; for "auto", where the device is faster.

    UserError if it is asked for on a GPU that only imitates it (before compute capability 8.0).
    """
    precision = config.train.precision
    if device.type == "cuda" and precision != "fp32":
        capability = torch.cuda.get_device_capability(device)
        if precision == "bf16" and capability < BF16_CAPABILITY:
            raise UserError(
                "train.precision: bf16 needs a GPU of compute capability 8.0 or more (this one has "
                f"{capability[0]}.{capability[1]}); use auto, which is fp32 here"
            )
        return capability >= BF16_CAPABILITY
    if precision != "auto":
        return precision == "bf16"
    # By the configuration, not by a clock: the same run must give the same numbers each time.
    enough = config.model.resolution >= CPU_BF16_FROM_PX
    return device.type == "cpu" and enough and cpu_multiplies_bf16()


def training_arithmetic(config: RunConfig) -> AbstractContextManager[None]:
    """Inside, GPUs compute as `train.precision` says.

    fp32: as IEEE 754 says, by the same algorithms each time. auto and bf16: convolutions in float32
    may use TF32, by the algorithms that are fastest for each shape, which is the same at every
    step. Metrics, which are compared, are computed outside of it.
    """
    fast = config.train.precision != "fp32"
    return float32_arithmetic(tf32=fast, benchmark=fast)


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done everything that it was given, as before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def keep_freed_memory() -> None:
    """Let this process reuse the memory that tensors free, on Linux with GNU's C library.

    That library hands back every block of more than 32 MiB at once, and the system clears the pages
    of the next one: an operation on such a tensor then takes up to eight times as long.
    """
    if library := _gnu_library():
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def forget_training() -> None:
    """Hand back what an earlier training in this process has freed, and measure its peak anew.

    On Linux with GNU's C library; where it cannot be done, `peak_memory_gb` has the highest so far.
    """
    gc.collect()
    if library := _gnu_library():
        library.malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text(_PEAK)


def _gnu_library() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
