"""Measure costs: operations and parameters of a network, and the memory that is used."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch
from torch import nn

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.models.passes import generator_gflop


def sampling_gflop(config: RunConfig) -> float:
    """Count G's operations for one picture, in 10**9 multiplications and additions."""
    return generator_gflop(config.model, config.data.channels)


def count_parameters(network: nn.Module) -> int:
    """Count the parameters of a network.

    The weights of the frozen layers of a projected discriminator are buffers, so they are not
    counted.
    """
    return sum(parameter.numel() for parameter in network.parameters())


def peak_memory_gb(device: torch.device) -> float:
    """Return the highest memory use so far, in GB (10**9 bytes).

    On CUDA, this is the memory that PyTorch has allocated on the GPU `device`. On other devices, it
    is the memory of this process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.is_file() else ():
        if line.startswith("VmHWM:"):  # this process only; getrusage also counts its parent
            return int(line.split()[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
