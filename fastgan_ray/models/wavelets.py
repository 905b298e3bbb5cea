"""Split feature maps into frequencies by the Haar wavelet transform, as FreGAN does.

Yang et al., "FreGAN: Exploiting Frequency Components for Training GANs under Limited Data"
(NeurIPS 2022). Each 2x2 square of a map, (a, b) above (c, d), becomes one number in each of four
bands of half the side:

    LL = (a + b + c + d) / 2        LH = (-a + b - c + d) / 2
    HL = (-a - b + c + d) / 2       HH = (a - b - c + d) / 2

These vectors are orthonormal, so the inverse transform is the transposed one and reconstructs the
map exactly. LL has the low frequencies, the others have the high ones. The networks need only two
sums of bands, which have short forms with few operators, so no band is computed by itself.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def high_frequencies(x_BCHW: Tensor) -> Tensor:
    """Compute LH + HL + HH of maps with even sides: (B, C, H, W) -> (B, C, H/2, W/2).

    The sum is (3d - a - b - c) / 2, which is twice the difference of d and the mean of the square.
    """
    return 2 * (x_BCHW[..., 1::2, 1::2] - F.avg_pool2d(x_BCHW, 2))


def details(x_BCHW: Tensor) -> Tensor:
    """Compute the inverse transform of a map's high bands, with LL = 0; the shape does not change.

    It is the map minus the mean of each 2x2 square. H and W must be even.
    """
    return x_BCHW - F.interpolate(F.avg_pool2d(x_BCHW, 2), scale_factor=2, mode="nearest")


def matched(x_BCHW: Tensor, channels: int) -> Tensor:
    """Return maps with another number of channels, without weights: (B, C, H, W) -> (B, N, H, W).

    Channel n of the result is channel n modulo C. So if N is larger, the channels are repeated (the
    published code doubles them), and if N is smaller, the last channels are left out.
    """
    count = x_BCHW.shape[1]
    if channels == count:
        return x_BCHW
    return torch.cat([x_BCHW] * math.ceil(channels / count), dim=1)[:, :channels]
