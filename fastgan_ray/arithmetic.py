"""Choose the precision of float32 operations on GPUs: IEEE 754 or TF32.

TF32 is several times faster, but rounds the factors of products from 23 to 10 mantissa bits.
By default, PyTorch uses TF32 for convolutions. This module never allows TF32 for matrix products,
because spectral normalisation needs the full precision. All other large operations are
convolutions. Losses, statistics and augmentations use float32 even if the networks use bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

IEEE = "ieee_float32"  # the name of exact float32 arithmetic in a metric's protocol


@contextmanager
def float32_arithmetic(tf32: bool, benchmark: bool = False) -> Iterator[None]:
    """Within this context, float32 convolutions may use TF32 only if `tf32` is True.

    Matrix products cannot use TF32 in this context. If `benchmark` is True, cuDNN tests several
    algorithms for each shape and uses the fastest one. Otherwise, cuDNN uses only deterministic
    algorithms.
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
    """Return a context in which all float32 operations follow IEEE 754 (no TF32)."""
    return float32_arithmetic(tf32=False)


def at_least_float32(values: Tensor) -> Tensor:
    """Convert a tensor to float32, but leave a float64 tensor unchanged."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
