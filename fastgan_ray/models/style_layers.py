"""Build the layers of StyleGAN2 (Karras et al., CVPR 2020).

All weights have an equalised learning rate (Karras et al. 2018): they are drawn from N(0, 1), and
scaled when they are used. So Adam changes the weights of all layers at the same relative rate. When
the height and width of a map are doubled or halved, the map is blurred with the filter [1, 3, 3, 1]
in both directions.
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
    """A linear layer with an equalised learning rate, which is multiplied by `rate`.

    `bias` is the initial value of the biases.
    """

    def __init__(
        self, rng: torch.Generator, c_in: int, c_out: int, bias: float = 0.0, rate: float = 1.0
    ) -> None:
        super().__init__(c_in, c_out, device="meta")
        self.to_empty(device="cpu")
        nn.init.normal_(self.weight, 0.0, 1 / rate, generator=rng)
        nn.init.constant_(self.bias, bias / rate)
        self.scale, self.rate = rate / math.sqrt(c_in), rate

    def forward(self, x_BC: Tensor) -> Tensor:
        """Compute features: (B, c_in) -> (B, c_out)."""
        return functional.linear(x_BC, self.weight * self.scale, self.bias * self.rate)


class ConvEqual(nn.Conv2d):
    """A convolution with an equalised learning rate, with a kernel of `side` x `side`.

    It keeps the height and width of its input. If `halves`, it blurs its input with a low-pass
    filter, and halves the height and width.
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
        """Compute features (B, c_out, H, W), or (B, c_out, H/2, W/2) if `halves`."""
        weight, pad = self.weight * self.scale, self.kernel_size[0] // 2
        if not self.halves:
            return functional.conv2d(x_BCHW, weight, self.bias, padding=pad)
        if pad == 0:  # a 1x1 kernel needs only every other pixel of the filtered map
            x_BCHW = filtered(x_BCHW, self.kernel, 1, stride=2)
            return functional.conv2d(x_BCHW, weight, self.bias)
        x_BCHW = filtered(x_BCHW, self.kernel, pad + 1)
        return functional.conv2d(x_BCHW, weight, self.bias, stride=2)


class ConvModulated(nn.Conv2d):
    """A convolution whose weights are multiplied by a style.

    A style has a factor for each input channel, and each picture has its own style. If
    `demodulates`, each output channel is divided by its expected standard deviation, for inputs of
    standard deviation 1. The code multiplies the features instead of the weights, which gives the
    same result. If `doubles`, a transposed convolution doubles height and width, and the result is
    blurred.
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
        """Compute features (B, c_out, H, W), or (B, c_out, 2H, 2W) if the layer `doubles`.

        `x_BCHW` has features (B, c_in, H, W), and `style_BC` has a style (c_in,) for each picture.
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
    """A learnt map (1, C, H, W) that is the same for all pictures, with initial values N(0, 1)."""

    def __init__(self, rng: torch.Generator, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.randn(1, channels, *size, generator=rng))

    def forward(self, w_BW: Tensor) -> Tensor:
        """Return the map B times, (B, C, H, W); only the batch size of `w_BW` (B, nz) matters."""
        return self.value.repeat(w_BW.shape[0], 1, 1, 1)


def activated(x: Tensor) -> Tensor:
    """Apply LeakyReLU with slope .2, and multiply by sqrt(2), so the mean square hardly changes."""
    return functional.leaky_relu(x, 0.2) * math.sqrt(2)


def filtered(x_BCHW: Tensor, kernel: Tensor, padding: int, stride: int = 1) -> Tensor:
    """Convolve each channel of `x_BCHW` with the same `kernel` (h, w).

    `padding` zeros are added on each side of the map. `stride` is the stride of the convolution.
    """
    channels = x_BCHW.shape[1]
    weight = kernel.to(x_BCHW.dtype).expand(channels, 1, -1, -1)
    return functional.conv2d(x_BCHW, weight, None, stride, padding, groups=channels)


def with_deviation(x_BCHW: Tensor, group: Group) -> Tensor:
    """Append a channel that has the minibatch standard deviation: (B, C, H, W) -> (B, C + 1, H, W).

    The batch of all processes of `group` is divided into sets of equal size. The size is 4, 3, 2 or
    1: the largest that divides the size of the batch. The standard deviation of each feature within
    a set is computed. The new channel has the mean of these standard deviations. So its value is
    the same for all pixels of all pictures in a set.
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
    """Move a layer from the device "meta" to the CPU, with initial weights N(0, 1) and biases 0.

    Also set the factor of its weights, and add the kernel of the blur filter.
    """
    layer.to_empty(device="cpu")
    nn.init.normal_(layer.weight, generator=rng)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    layer.scale = 1 / math.sqrt(layer.weight[0].numel())
    taps = torch.tensor(_FILTER) / sum(_FILTER)
    layer.register_buffer("kernel", torch.outer(taps, taps), persistent=False)
