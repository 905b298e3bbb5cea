"""Everything of PyTorch that is private or bound to its version.

PyTorch has no public call for an operation on each of a list of tensors, in one kernel for all;
its optimisers use the private ones.

`tests/test_compat.py` checks it against the PyTorch that is installed, and fails with a sentence
when PyTorch changes.
"""

from __future__ import annotations

import torch
from torch import Tensor

TensorList = tuple[Tensor, ...] | list[Tensor]


def cpu_multiplies_bf16() -> bool:
    """Return whether this processor has instructions that multiply bfloat16 (AVX-512 BF16, AMX).

    `torch.cpu.get_capabilities` tells it publicly, but PyTorch 2.7 does not have that yet.
    """
    instructions = (torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported)
    return any(supported() for supported in instructions)


def add_each_(totals: list[Tensor], values: list[Tensor]) -> None:
    """Add a value to each total."""
    torch._foreach_add_(totals, values)


def move_each_(tensors: list[Tensor], goals: list[Tensor], share: Tensor) -> None:
    """Move each tensor by a share of the difference to its goal.

    The public `get_ema_multi_avg_fn` does it where the share is a number, not a tensor.
    """
    shifts = torch._foreach_sub(goals, tensors)
    torch._foreach_mul_(shifts, share)
    torch._foreach_add_(tensors, shifts)


def copy_each_(targets: list[Tensor], sources: TensorList) -> None:
    """Copy to each target."""
    torch._foreach_copy_(targets, sources)


def norm_of_each(tensors: TensorList) -> Tensor:
    """Return the Euclidean norm of each tensor, in one vector."""
    return torch.stack(torch._foreach_norm(tensors))
