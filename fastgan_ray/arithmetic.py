"""How NVIDIA's GPUs multiply numbers in float32: as IEEE 754 says, or in TF32.

TF32 keeps 10 of 23 bits of a factor and is several times as fast. PyTorch uses it for convolutions
unless told otherwise. Here, matrices are never multiplied in TF32: spectral normalisation needs all
digits, and nothing else of size is a plain matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

IEEE = "ieee_float32"  # its name in a metric's protocol


@contextmanager
def float32_arithmetic(tf32: bool, benchmark: bool = False) -> Iterator[None]:
    """Inside, convolutions in float32 may use TF32, or not; matrix products never do.

    `benchmark`: the convolutions' algorithms are the fastest by a trial run for each shape; without
    it they are those that give the same bits each time.
    """
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=benchmark, deterministic=not benchmark, allow_tf32=tf32
        ):
            yield
    finally:
        matmul.allow_tf32 = before


def ieee_float32() -> AbstractContextManager[None]:
    """Inside, everything in float32 is computed as IEEE 754 says, on every device."""
    return float32_arithmetic(tf32=False)
