"""Compute the gated linear unit so that gradients stay channels-last in memory.

On a CPU, the gradient of PyTorch's operator is not channels-last. This makes the backward pass of
the batch normalisation ten times slower, and the convolution must reorder the channels. The
function in this module keeps the gradient channels-last. `kernels.KERNELS` says for each device
whether PyTorch's operator or this function is used.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from fastgan_ray.models.kernels import kernels_for

# A CPU is slow if it reads fewer contiguous bytes than this per pixel. In that case it is faster to
# compute the sigmoid of all channels and to discard half of the result.
_SHORT_RUN = 128


def gated(x_BCHW: Tensor) -> Tensor:
    """Apply the gated linear unit: (B, 2C, H, W) -> (B, C, H, W).

    The first half of the channels is multiplied by the sigmoid of the second half.
    """
    if kernels_for(x_BCHW.device).fused_glu:
        return F.glu(x_BCHW, dim=1)
    y_BCHW: Tensor = _GatedUnit.apply(x_BCHW)
    return y_BCHW


class _GatedUnit(torch.autograd.Function):
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
    """Return the sigmoid of the second half of the channels, (B, C, H, W)."""
    half = x.shape[1] // 2
    if half * x.element_size() < _SHORT_RUN:
        return torch.sigmoid(x)[:, half:]
    return torch.sigmoid(x[:, half:])
