"""Wrap the PyTorch functions that are private or that depend on the PyTorch version.

PyTorch has no public function that changes all tensors of a list in one kernel. PyTorch's own
optimisers use private functions for this, and so does this module.

`tests/test_compat.py` checks these functions with the installed PyTorch version. If a function has
changed, the test fails with a message that says what to do.
"""

from __future__ import annotations

import torch
from torch import Tensor

TensorList = tuple[Tensor, ...] | list[Tensor]


def cpu_multiplies_bf16() -> bool:
    """Return whether this CPU has instructions that multiply bfloat16 (AVX-512 BF16 or AMX).

    The public function `torch.cpu.get_capabilities` does not exist in PyTorch 2.7.
    """
    instructions = (torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported)
    return any(supported() for supported in instructions)


def add_each_(totals: list[Tensor], values: list[Tensor]) -> None:
    """Add `values[i]` to `totals[i]` for each i, in place."""
    torch._foreach_add_(totals, values)


def move_each_(tensors: list[Tensor], targets: list[Tensor], share: Tensor) -> None:
    """Add `share` * (`targets[i]` - `tensors[i]`) to `tensors[i]` for each i, in place.

    `share` is a scalar tensor. PyTorch's public `get_ema_multi_avg_fn` accepts only a number.
    """
    shifts = torch._foreach_sub(targets, tensors)
    torch._foreach_mul_(shifts, share)
    torch._foreach_add_(tensors, shifts)


def copy_each_(targets: list[Tensor], sources: TensorList) -> None:
    """Copy the values of `sources[i]` to `targets[i]` for each i."""
    torch._foreach_copy_(targets, sources)


def norm_of_each(tensors: TensorList) -> Tensor:
    """Return the Euclidean norms of all tensors as one tensor (len(tensors),)."""
    return torch.stack(torch._foreach_norm(tensors))
