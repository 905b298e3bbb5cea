"""Double the height and width of a map, then apply a 3x3 convolution, in one of two ways.

The first way makes 2x2 equal pixels of each pixel, and applies the convolution to the larger map.
The second way is one transposed convolution of stride 2, with a 4x4 kernel. In the first way,
several weights of the 3x3 kernel multiply equal pixels. The 4x4 kernel has the sums of these
weights. The results differ only by rounding. The second way needs 16 multiplications instead of 36
for each pixel and pair of channels, and does not store the larger map. It saves time only for large
maps, because the 4x4 kernel must be computed. `kernels.KERNELS` has, for each device, the smallest
map for which the second way is used. The choice does not depend on the batch size, because a sample
must not depend on the size of its batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastgan_ray.models.kernels import kernels_for


def upsample_conv2x(x_BCHW: Tensor, conv: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """Double the height and width of a map (nearest neighbour), then apply `conv`.

    (B, c_in, H, W) -> (B, c_out, 2H, 2W). `conv` must be a 3x3 convolution with padding 1.
    """
    transposed_from = kernels_for(x_BCHW.device).transposed_from
    if transposed_from is None or x_BCHW.shape[-1] < transposed_from:
        result: Tensor = conv(F.interpolate(x_BCHW, scale_factor=2, mode="nearest"))
        return result
    kernel = transposed_kernel(conv.weight)
    return F.conv_transpose2d(x_BCHW, kernel.transpose(0, 1), conv.bias, stride=2, padding=1)


def transposed_kernel(weight: Tensor) -> Tensor:
    """Convert a 3x3 kernel to the 4x4 kernel of the transposed convolution of stride 2.

    (o, i, 3, 3) -> (o, i, 4, 4). In both directions, the weights (w0, w1, w2) become (w2, w1+w2,
    w0+w1, w0). They are reversed, because a transposed convolution applies its kernel in reverse.
    """
    for side in (2, 3):
        first, middle, last = torch.split(weight, 1, side)
        weight = torch.cat([last, middle + last, first + middle, first], side)
    return weight
