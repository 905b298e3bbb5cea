"""Build the layers of StyleGAN2 (Karras et al., CVPR 2020).

All weights are drawn from N(0, 1) and scaled when they are used (equalised learning rate, Karras et
al. 2018), so that Adam moves all layers at the same relative rate. When the side of a
map is doubled or halved, the map is filtered with [1, 3, 3, 1] along its height and width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastgan_ray.arithmetic import at_least_float32
from fastgan_ray.distributed import Group

_EPS = 1e-8
_FILTER = (1.0, 3.0, 3.0, 1.0)
_STDDEV_GROUP = 4  # number of pictures whose features are compared


class LinearEqual(nn.Linear):
    """A linear layer whose equalised learning rate is multiplied by `rate`."""

    def __init__(
        self, rng: torch.Generator, c_in: int, c_out: int, bias: float = 0.0, rate: float = 1.0
    ) -> None:
        super().__init__(c_in, c_out, device="meta")
        self.to_empty(device="cpu")
        nn.init.normal_(self.weight, 0.0, 1 / rate, generator=rng)
        nn.init.constant_(self.bias, bias / rate)
        self.scale, self.rate = rate / math.sqrt(c_in), rate

    def forward(self, x_BC: Tensor) -> Tensor:
        """Compute (B, c_in) -> (B, c_out)."""
        return functional.linear(x_BC, self.weight * self.scale, self.bias * self.rate)


class ConvEqual(nn.Conv2d):
    """A convolution that keeps the height and width of its input.

    If `halves`, it blurs its input with a low-pass filter and halves the height and width.
    """

    kernel: Tensor
    scale: float

    def __init__(
        self,
        rng: torch.Generator,
        c_in: int,
        c_out: int,
        side: int,
        *,
        halves: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__(c_in, c_out, side, bias=bias, device="meta")
        self.halves = halves
        _initialise(self, rng)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Compute (B, c_in, H, W) -> (B, c_out, H, W), or (B, c_out, H/2, W/2) if `halves`."""
        weight, pad = self.weight * self.scale, self.kernel_size[0] // 2
        if not self.halves:
            return functional.conv2d(x_BCHW, weight, self.bias, padding=pad)
        if pad == 0:  # a 1x1 kernel needs only every other pixel of the filtered map
            x_BCHW = filtered(x_BCHW, self.kernel, 1, stride=2)
            return functional.conv2d(x_BCHW, weight, self.bias)
        x_BCHW = filtered(x_BCHW, self.kernel, pad + 1)
        return functional.conv2d(x_BCHW, weight, self.bias, stride=2)


class ConvModulated(nn.Conv2d):
    """A convolution whose weights are scaled by a style: a factor per picture and input channel.

    If it `demodulates`, each output channel is divided by the standard deviation that its values
    are expected to have for inputs of standard deviation 1. The code scales the features instead of
    the weights; the result is the same. If it `doubles`, a transposed convolution doubles the side,
    and the result is filtered.
    """

    kernel: Tensor
    scale: float

    def __init__(
        self,
        rng: torch.Generator,
        c_in: int,
        c_out: int,
        side: int,
        *,
        doubles: bool = False,
        demodulates: bool = True,
    ) -> None:
        super().__init__(c_in, c_out, side, device="meta")
        self.doubles, self.demodulates = doubles, demodulates
        _initialise(self, rng)

    def forward(self, x_BCHW: Tensor, style_BC: Tensor) -> Tensor:  # type: ignore[override]
        """Compute features: (B, c_in, H, W) and styles (B, c_in) -> (B, c_out, H, W).

        If the layer `doubles`, the result is (B, c_out, 2H, 2W).
        """
        weight = self.weight * self.scale
        x_BCHW = x_BCHW * style_BC[:, :, None, None].to(x_BCHW.dtype)
        if self.doubles:
            y_BCHW = functional.conv_transpose2d(x_BCHW, weight.transpose(0, 1), stride=2)
            y_BCHW = filtered(y_BCHW, self.kernel * 4, 1)
        else:
            y_BCHW = functional.conv2d(x_BCHW, weight, padding=self.kernel_size[0] // 2)
        if self.demodulates:
            squares_OC = weight.square().sum((2, 3))
            scale_BO = (functional.linear(style_BC.square(), squares_OC) + _EPS).rsqrt()
            y_BCHW = y_BCHW * scale_BO[:, :, None, None].to(y_BCHW.dtype)
        assert self.bias is not None
        return y_BCHW + self.bias[:, None, None].to(y_BCHW.dtype)


class Constant(nn.Module):
    """A trained map (1, C, H, W), the same for all pictures; its initial values are N(0, 1)."""

    def __init__(self, rng: torch.Generator, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.randn(1, channels, *size, generator=rng))

    def forward(self, w_BW: Tensor) -> Tensor:
        """Return the map for each picture of a batch: (B, C, H, W)."""
        return self.value.repeat(w_BW.shape[0], 1, 1, 1)


def activated(x: Tensor) -> Tensor:
    """Apply LeakyReLU .2, and scale the result to keep the standard deviation of the values."""
    return functional.leaky_relu(x, 0.2) * math.sqrt(2)


def filtered(x_BCHW: Tensor, kernel: Tensor, padding: int, stride: int = 1) -> Tensor:
    """Filter each channel with the same kernel (h, w); zeros surround the map."""
    channels = x_BCHW.shape[1]
    weight = kernel.to(x_BCHW.dtype).expand(channels, 1, -1, -1)
    return functional.conv2d(x_BCHW, weight, None, stride, padding, groups=channels)


def with_deviation(x_BCHW: Tensor, group: Group) -> Tensor:
    """Append a channel: the mean standard deviation of the features within a set of pictures.

    (B, C, H, W) -> (B, C + 1, H, W). The whole batch, over all processes of `group`, is divided
    into sets of 4 pictures. If the batch size is not a multiple of 4, the sets have 3, 2 or 1.
    """
    all_BCHW = group.gather(at_least_float32(x_BCHW))
    count, *shape = all_BCHW.shape
    size = next(size for size in range(_STDDEV_GROUP, 0, -1) if count % size == 0)
    variance = all_BCHW.reshape(size, count // size, *shape).var(0, correction=0)
    mean_M = (variance + _EPS).sqrt().mean((1, 2, 3))
    rows_B = group.local_rows(mean_M.repeat(size))
    map_B1HW = rows_B[:, None, None, None].expand(-1, 1, *shape[1:])
    return torch.cat([x_BCHW, map_B1HW.to(x_BCHW.dtype)], dim=1)


def _initialise(layer: ConvEqual | ConvModulated, rng: torch.Generator) -> None:
    """Initialise a layer that is on the device "meta".

    Draw its weights, set the scale of its weights, and add the kernel of the blur filter.
    """
    layer.to_empty(device="cpu")
    nn.init.normal_(layer.weight, generator=rng)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    layer.scale = 1 / math.sqrt(layer.weight[0].numel())
    taps = torch.tensor(_FILTER) / sum(_FILTER)
    layer.register_buffer("kernel", torch.outer(taps, taps), persistent=False)
