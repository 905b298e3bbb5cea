"""Wrap the PyTorch functions that are private or that depend on the PyTorch version.

PyTorch has no public function that changes all tensors of a list in one kernel; its own optimisers
use private functions for this.

`tests/test_compat.py` checks these functions with the installed PyTorch; if PyTorch changes, the
test fails with a sentence that says what to do.
"""

from __future__ import annotations

import torch
from torch import Tensor

TensorList = tuple[Tensor, ...] | list[Tensor]


def cpu_multiplies_bf16() -> bool:
    """Return whether this processor has instructions that multiply bfloat16 (AVX-512 BF16, AMX).

    The public `torch.cpu.get_capabilities` also returns this, but PyTorch 2.7 lacks that function.
    """
    instructions = (torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported)
    return any(supported() for supported in instructions)


def add_each_(totals: list[Tensor], values: list[Tensor]) -> None:
    """Add each value to its total, in place."""
    torch._foreach_add_(totals, values)


def move_each_(tensors: list[Tensor], targets: list[Tensor], share: Tensor) -> None:
    """Move each tensor towards its target by `share` of the difference, in place.

    The public `get_ema_multi_avg_fn` needs a number as the share; here, the share is a tensor.
    """
    shifts = torch._foreach_sub(targets, tensors)
    torch._foreach_mul_(shifts, share)
    torch._foreach_add_(tensors, shifts)


def copy_each_(targets: list[Tensor], sources: TensorList) -> None:
    """Copy each source to its target, in place."""
    torch._foreach_copy_(targets, sources)


def norm_of_each(tensors: TensorList) -> Tensor:
    """Return the Euclidean norm of each tensor, in one vector."""
    return torch.stack(torch._foreach_norm(tensors))
