"""Split feature maps into frequencies by the Haar wavelet transform, as FreGAN does.

Source: Yang et al., "FreGAN: Exploiting Frequency Components for Training GANs under Limited Data"
(NeurIPS 2022). The transform splits a map (H, W) into four bands (H/2, W/2). A 2x2 square of the
map, with a and b in its first row and c and d in its second row, becomes one number in each band:

    LL = (a + b + c + d) / 2        LH = (-a + b - c + d) / 2
    HL = (-a - b + c + d) / 2       HH = (a - b - c + d) / 2

LL has the low frequencies, and the other bands have the high frequencies. The transform is
orthonormal, so its inverse is its transpose. The networks need only the two results that are
computed below, so the code does not compute the bands themselves.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def high_frequencies(x_BCHW: Tensor) -> Tensor:
    """Compute the sum of the bands LH, HL and HH: (B, C, H, W) -> (B, C, H/2, W/2).

    H and W must be even. For the square (a, b), (c, d), the sum is (3d - a - b - c) / 2. This is
    twice the difference between d and the mean of the square.
    """
    return 2 * (x_BCHW[..., 1::2, 1::2] - F.avg_pool2d(x_BCHW, 2))


def details(x_BCHW: Tensor) -> Tensor:
    """Remove the low frequencies from a map (B, C, H, W): set the band LL to 0 and transform back.

    The result is the map minus the mean of each 2x2 square. H and W must be even.
    """
    return x_BCHW - F.interpolate(F.avg_pool2d(x_BCHW, 2), scale_factor=2, mode="nearest")


def matched(x_BCHW: Tensor, channels: int) -> Tensor:
    """Change the number of channels without weights: (B, C, H, W) -> (B, `channels`, H, W).

    Channel n of the result is channel n modulo C of the input. So the channels are repeated (the
    published code doubles them), or the last channels are left out.
    """
    count = x_BCHW.shape[1]
    if channels == count:
        return x_BCHW
    return torch.cat([x_BCHW] * math.ceil(channels / count), dim=1)[:, :channels]
