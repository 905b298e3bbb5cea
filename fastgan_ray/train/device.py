"""Choose a run's device and number format, and control its memory."""

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
# The codes of two settings of the C library, M_TRIM_THRESHOLD and M_MMAP_MAX (see mallopt(3)). The
# first is the size from which free memory is returned to the system. The second is the largest
# number of blocks that are mapped separately.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_PEAK = "5"  # writing this value to clear_refs resets the memory peak (see proc(5))


def choose_device(name: str) -> torch.device:
    """Return the device `name`, which is "cuda", "mps", "cpu" or "auto".

    "auto" means the first of cuda, mps and cpu that this machine has. Raises UserError if the
    device is not available.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    devices = [device for device, is_available in available.items() if is_available]
    if name == "auto":
        return torch.device(devices[0])
    if name not in devices:
        raise UserError(
            f"train.device: {name} is not available on this machine (available: "
            f"{', '.join(devices)})"
        )
    return torch.device(name)


def device_of(config: RunConfig) -> torch.device:
    """Return the device of a run; "auto" means the CPU if `resources.gpus` is 0."""
    without_gpu = config.resources.gpus == 0 and config.train.device == "auto"
    return choose_device("cpu" if without_gpu else config.train.device)


def require_device(config: RunConfig) -> None:
    """Raise UserError if this machine does not have the device or the GPU that a run needs.

    With `train.device` "auto", a run needs a GPU if `resources.gpus` is above 0.
    """
    gpus, device = config.resources.gpus, device_of(config)
    if gpus and config.train.device == "auto" and device.type == "cpu":
        raise UserError(
            f"resources.gpus is {gpus:g}, but this machine has no GPU; to train on the CPU, add "
            "--set resources.gpus=0"
        )


def limit_gpu_memory(share: float) -> None:
    """Limit this process to the fraction `share` of each GPU's memory; 1 or more means no limit.

    If a training then needs more memory, only this training fails, not the other trials on the
    same GPU.
    """
    if 0 < share < 1 and torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            torch.cuda.set_per_process_memory_fraction(share, index)


def use_bf16(config: RunConfig, device: torch.device) -> bool:
    """Return whether to autocast to bfloat16, as `train.precision` says.

    With "auto", the result is True if bfloat16 is expected to be faster on the device. Raises
    UserError for "bf16" if the GPU only emulates bfloat16 (compute capability below 8.0).
    """
    precision = config.train.precision
    if device.type == "cuda" and precision != "fp32":
        capability = torch.cuda.get_device_capability(device)
        if precision == "bf16" and capability < BF16_CAPABILITY:
            raise UserError(
                "train.precision: bf16 needs a GPU of compute capability 8.0 or more (this one has "
                f"{capability[0]}.{capability[1]}); use auto, which is fp32 on this GPU"
            )
        return capability >= BF16_CAPABILITY
    if precision != "auto":
        return precision == "bf16"
    # Decide by the configuration instead of a timing, so that the same run always gives the same
    # numbers.
    enough = config.model.resolution >= CPU_BF16_FROM_PX
    return device.type == "cpu" and enough and cpu_multiplies_bf16()


def training_arithmetic(config: RunConfig) -> AbstractContextManager[None]:
    """Make GPUs compute with the precision of `train.precision` within this context.

    With "fp32", GPUs follow IEEE 754 and always use the same algorithms. With "auto" and "bf16",
    convolutions in float32 may use TF32, and the fastest algorithm for each shape is chosen.
    (Shapes are the same at every step.) Compute metrics outside this context, because metrics of
    different runs must be comparable.
    """
    fast = config.train.precision != "fp32"
    return float32_arithmetic(tf32=fast, benchmark=fast)


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has finished all its work, e.g. before reading a clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def keep_freed_memory() -> None:
    """Keep the memory of deleted tensors in this process, so that new tensors can reuse it.

    This works on Linux with GNU's C library. By default, this library returns every freed block of
    more than 32 MiB to the system. For the next block, the system must clear new pages. Operations
    that allocate large tensors then take up to eight times as long.
    """
    if library := _gnu_library():
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def forget_training() -> None:
    """Return the freed memory of an earlier training to the system; reset the memory peak.

    The memory is returned only on Linux with GNU's C library. The memory peak is the highest use of
    the machine's memory by this process. It is reset only on Linux. On other systems,
    `peak_memory_gb` returns the highest value since the process started.
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
