"""Doubling a map's side before a 3x3 convolution, in the cheaper of two forms.

Plain: each pixel becomes 2x2 equal ones, and the convolution goes over these. Transposed: the same
sums as one transposed convolution of stride 2, whose 4x4 kernel has at each place the sum of those
weights of the 3x3 one that meet the same pixel: 16 multiplications a pixel and pair of channels in
place of 36, and no map of doubled side in between. It is exact; only the order of sums differs.

Which form: to make the kernel costs by the weights, and to use it saves by the pixels, so that maps
from `TRANSPOSED_FROM` px up are transposed, smaller ones not (docs/findings.md: 1.3 to 2.4 times as
fast from 16 px in 47 of 48 combinations of width, format and layout, .24 to 1.3 times at 4 and 8
px). The batch has no say: a sample must not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TRANSPOSED_FROM = 16
_plain = ContextVar("plain", default=False)


@contextmanager
def reference_kernels(wanted: bool = True) -> Iterator[None]:
    """Inside, doubling has the plain form everywhere, as published."""
    token = _plain.set(wanted)
    try:
        yield
    finally:
        _plain.reset(token)


def are_plain() -> bool:
    """Whether this is inside `plain_forms`."""
    return _plain.get()


def upsample_conv2x(x_BCHW: Tensor, conv: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """(B, c_in, H, W) -> (B, c_out, 2H, 2W) by a 3x3 convolution with a padding of 1, no bias."""
    if are_plain() or x_BCHW.shape[-1] < TRANSPOSED_FROM:
        result: Tensor = conv(F.interpolate(x_BCHW, scale_factor=2, mode="nearest"))
        return result
    kernel = transposed_kernel(conv.weight)
    return F.conv_transpose2d(x_BCHW, kernel.transpose(0, 1), stride=2, padding=1)


def transposed_kernel(weight: Tensor) -> Tensor:
    """(c_out, c_in, 3, 3) -> (c_out, c_in, 4, 4): along each side, w0 w1 w2 -> w2 w1+w2 w0+w1 w0.

    A transposed convolution puts its kernel down as it is, so that the weights are turned over.
    """
    for side in (2, 3):
        first, middle, last = torch.split(weight, 1, side)
        weight = torch.cat([last, middle + last, first + middle, first], side)
    return weight
