"""Choose the precision of arithmetic: at least float32, exactly as IEEE 754 says or in TF32.

Losses, statistics and augmentations are computed in float32 even if the networks use bfloat16.
TF32 keeps 10 of the 23 mantissa bits of each factor and is several times as fast. By default,
PyTorch uses TF32 for convolutions. This module never allows TF32 for matrix products, because
spectral normalisation needs all digits, and no other large operation is a plain matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

IEEE = "ieee_float32"  # the name of exact float32 arithmetic in a metric's protocol


@contextmanager
def float32_arithmetic(tf32: bool, benchmark: bool = False) -> Iterator[None]:
    """Within this context, float32 convolutions may use TF32 only if `tf32` is true.

    Matrix products never use TF32 there.
    With `benchmark`, cuDNN tries algorithms for each shape and uses the fastest one. Without it,
    cuDNN uses algorithms that give the same bits each time.
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
    """Make float32 operations follow IEEE 754 within this context, on every device."""
    return float32_arithmetic(tf32=False)


def at_least_float32(values: Tensor) -> Tensor:
    """Convert values to float32 unless they are float64, which tests use."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
