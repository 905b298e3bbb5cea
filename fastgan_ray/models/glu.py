"""The gated linear unit, half the channels times the sigmoid of the other half, channels last.

PyTorch's returns a gradient with the channels first: the batch normalisation before it then goes
ten times slower, and the convolution before that sorts it back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# A run of memory shorter than this many bytes a pixel is slow to walk through: cheaper is to take
# the sigmoid of all channels and leave half of it.
_SHORT_RUN = 128


def gated(x_BCHW: Tensor) -> Tensor:
    """(B, 2C, H, W) -> (B, C, H, W), in the same layout."""
    y_BCHW: Tensor = _Gate.apply(x_BCHW)
    return y_BCHW


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ANN401 - autograd has no type for it
        ctx.save_for_backward(x)
        return x[:, : x.shape[1] // 2] * _sigmoid(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401 - autograd has no type for it
        (x,) = ctx.saved_tensors
        gate = _sigmoid(x)
        value = gradient * gate
        slope = (1 - gate).mul_(value).mul_(x[:, : x.shape[1] // 2])
        return torch.cat([value, slope], dim=1)


def _sigmoid(x: Tensor) -> Tensor:
    """Of the second half of the channels."""
    half = x.shape[1] // 2
    if half * x.element_size() < _SHORT_RUN:
        return torch.sigmoid(x)[:, half:]
    return torch.sigmoid(x[:, half:])
