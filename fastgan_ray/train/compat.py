"""Everything of PyTorch that is private or bound to its version.

`tests/test_compat.py` checks it against the PyTorch that is installed, and fails with a sentence
when PyTorch changes.
"""

from __future__ import annotations

import torch


def cpu_multiplies_bf16() -> bool:
    """Return whether this processor has instructions that multiply bfloat16 (AVX-512 BF16, AMX).

    `torch.cpu.get_capabilities` tells it publicly, but PyTorch 2.7 does not have that yet.
    """
    instructions = (torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported)
    return any(supported() for supported in instructions)
