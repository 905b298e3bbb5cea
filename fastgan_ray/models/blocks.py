"""Build FastGAN's blocks (up, down, skip-layer excitation, noise) with initial weights.

FastGAN: Liu et al., ICLR 2021. The two networks share the blocks and some helpers. FastGAN's
convolutions have no biases. Shapes: B images, C channels, H x W pixels.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.distributed import ALONE, Group
from fastgan_ray.models.discriminator_norms import Chain, ChainControl, plain_norm
from fastgan_ray.models.glu import gated
from fastgan_ray.models.spectral import spectral_norm
from fastgan_ray.models.upsample import upsample_conv2x

_STD = 0.02
_NOISE_SEED = 0
_Conv = TypeVar("_Conv", nn.Conv2d, nn.ConvTranspose2d)
_Layer = TypeVar("_Layer", nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class LayerFactory:
    """A factory of layers whose initial weights are drawn by `rng` (on the CPU).

    If `spectral`, convolutions are spectrally normalised. `d_norm` is the kind of D's normalisation
    layers (see `discriminator_norms`). `slope` is the slope of D's LeakyReLU for negative values.
    """

    def __init__(
        self, rng: torch.Generator, spectral: bool, d_norm: str = "batch", slope: float = 0.2
    ) -> None:
        self._rng = rng
        self._spectral = spectral
        self._d_norm = d_norm
        self.chain = ChainControl() if d_norm == "chain" else None
        self._slope = slope
        # The fixed noise maps are not weights: they are the same in every network.
        self._noise_rng = torch.Generator().manual_seed(_NOISE_SEED)

    def conv(
        self, c_in: int, c_out: int, kernel: int, stride: int = 1, padding: int = 0
    ) -> nn.Conv2d:
        """Return a convolution with normal weights (standard deviation .02), without biases."""
        layer = nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False, device="meta")
        return self._finish(layer)

    def conv_transpose(self, c_in: int, c_out: int, kernel: tuple[int, int]) -> nn.ConvTranspose2d:
        """Return a transposed convolution, with initial weights like those of `conv`."""
        layer = nn.ConvTranspose2d(c_in, c_out, kernel, bias=False, device="meta")
        return self._finish(layer)

    def linear(self, c_in: int, c_out: int) -> nn.Linear:
        """Return a linear layer, not spectrally normalised: Glorot uniform weights, biases 0."""
        return glorot(nn.Linear(c_in, c_out, device="meta"), self._rng)

    def norm(self, channels: int) -> nn.BatchNorm2d:
        """Return a batch normalisation layer with shifts 0.

        The scales are drawn from a normal distribution with mean 1 and standard deviation .02.
        """
        layer = nn.BatchNorm2d(channels)
        nn.init.normal_(layer.weight, 1.0, _STD, generator=self._rng)
        return layer

    def d_norm(self, channels: int) -> nn.Module:
        """Return a normalisation layer for D, of the kind that the factory's `d_norm` names."""
        if self.chain is not None:
            return Chain(channels, self.chain)
        return (
            self.norm(channels) if self._d_norm == "batch" else plain_norm(self._d_norm, channels)
        )

    def d_activation(self) -> nn.LeakyReLU:
        """Return an activation layer for D: LeakyReLU with the factory's slope."""
        return nn.LeakyReLU(self._slope)

    def noise(self, size: tuple[int, int]) -> NoiseInjection:
        """Return a `NoiseInjection` for maps of `size` (H, W), with a new fixed noise map."""
        return NoiseInjection(torch.randn(1, 1, *size, generator=self._noise_rng))

    def _finish(self, layer: _Conv) -> _Conv:
        # The layer was made on "meta", so that PyTorch's initialisation does not use the global
        # RNG.
        layer = layer.to_empty(device="cpu")
        # Initialise before `spectral_norm`, which makes `.weight` a computed value.
        nn.init.normal_(layer.weight, 0.0, _STD, generator=self._rng)
        if self._spectral:
            seed = int(torch.randint(2**62, (), generator=self._rng))
            spectral_norm(layer, torch.Generator().manual_seed(seed))
        return layer


def glorot(layer: _Layer, rng: torch.Generator) -> _Layer:
    """Move a layer from the device "meta" to the CPU, with Glorot uniform weights and biases 0."""
    layer = layer.to_empty(device="cpu")
    nn.init.xavier_uniform_(layer.weight, generator=rng)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def normal(layer: _Layer, rng: torch.Generator) -> _Layer:
    """Move a layer from "meta" to the CPU: normal weights (standard deviation .02), biases 0."""
    layer = layer.to_empty(device="cpu")
    nn.init.normal_(layer.weight, 0.0, _STD, generator=rng)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class NoiseInjection(nn.Module):
    """A layer that adds a noise map, multiplied by a learnt scalar, to all channels.

    The scalar is 0 at first. `fixed_11HW` is the noise map (1, 1, H, W) for all samples when the
    layer is called without a random number generator.
    """

    fixed: Tensor
    group: Group = ALONE

    def __init__(self, fixed_11HW: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("fixed", fixed_11HW, persistent=False)

    def forward(self, x_BCHW: Tensor, rng: torch.Generator | None) -> Tensor:
        """Add a noise map drawn by `rng` for each sample (None: the fixed map for all samples)."""
        noise = self.fixed
        if rng is not None:
            shape = (self.group.size * x_BCHW.shape[0], 1, *x_BCHW.shape[2:])
            noise = self.group.local_rows(torch.randn(shape, generator=rng, device=rng.device))
        # Cast the product: under autocast, adding float32 would convert the features to float32.
        return x_BCHW + (self.weight * noise.to(self.weight)).to(x_BCHW.dtype)


class GatedConv(nn.Module):
    """A convolution, then optional noise, batch normalisation, and a gated linear unit."""

    def __init__(
        self,
        conv: nn.Conv2d | nn.ConvTranspose2d,
        norm: nn.BatchNorm2d,
        noise: NoiseInjection | None = None,
    ) -> None:
        super().__init__()
        self.conv = conv
        self.noise = noise
        self.norm = norm

    def forward(
        self, x_BCHW: Tensor, rng: torch.Generator | None = None, double: bool = False
    ) -> Tensor:
        """Compute features with half as many channels as the output of the convolution.

        If `double`, height and width are doubled before the convolution. `rng` draws the noise.
        """
        x_BCHW = upsample_conv2x(x_BCHW, self.conv) if double else self.conv(x_BCHW)
        if self.noise is not None:
            x_BCHW = self.noise(x_BCHW, rng)
        return gated(self.norm(x_BCHW))


class UpBlock(nn.Module):
    """A block that doubles height and width, and then applies gated convolutions (`GatedConv`)."""

    def __init__(self, *layers: GatedConv) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x_BCHW: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Compute features: (B, c_in, H, W) -> (B, c_out, 2H, 2W); `rng` draws the noise."""
        for index, layer in enumerate(self.layers):
            x_BCHW = layer(x_BCHW, rng, double=index == 0)
        return x_BCHW


def plain_up(make: LayerFactory, c_in: int, c_out: int) -> UpBlock:
    """Return an `UpBlock` with one gated 3x3 convolution and no noise."""
    return UpBlock(GatedConv(make.conv(c_in, 2 * c_out, 3, padding=1), make.norm(2 * c_out)))


def compound_up(
    make: LayerFactory, c_in: int, c_out: int, noise_size: tuple[int, int] | None
) -> UpBlock:
    """Return an `UpBlock` with two gated 3x3 convolutions.

    Noise maps of `noise_size` (H, W) are added to the outputs of the convolutions. If `noise_size`
    is None, there is no noise.
    """
    return UpBlock(
        *(
            GatedConv(
                make.conv(width, 2 * c_out, 3, padding=1),
                make.norm(2 * c_out),
                None if noise_size is None else make.noise(noise_size),
            )
            for width in (c_in, c_out)
        )
    )


class SkipExcitation(nn.Module):
    """A skip-layer excitation (SLE), which multiplies the channels of a map by gates.

    The map has `c_target` channels. The gates are computed from a smaller map, which has `c_source`
    channels.
    """

    def __init__(self, make: LayerFactory, c_source: int, c_target: int) -> None:
        super().__init__()
        self.squeeze = make.conv(c_source, c_target, 4)
        self.excite = make.conv(c_target, c_target, 1)

    def forward(self, source_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
        """Multiply each channel of the target by a gate in (0, 1), computed from the source."""
        pooled = functional.adaptive_avg_pool2d(source_BCHW, 4)
        gate_BC11 = torch.sigmoid(self.excite(functional.silu(self.squeeze(pooled))))
        return target_BCHW * gate_BC11


def skip_layer_excitation(
    c_source: int, c_target: int, spectral_norm: bool = True, seed: int = 0
) -> SkipExcitation:
    """Build a new skip-layer excitation (SLE) block of FastGAN, for use in another network.

    The inputs are a small map (B, c_source, h, w), with h and w at least 4, and a larger map (B,
    c_target, H, W). The output is (B, c_target, H, W). `seed` is the seed of the initial weights.
    If `spectral_norm`, the convolutions are spectrally normalised, as in FastGAN. Raises ValueError
    if `c_source` or `c_target` is below 1.
    """
    if min(c_source, c_target) < 1:
        raise ValueError(f"channels must be at least 1 (got {c_source} and {c_target})")
    make = LayerFactory(torch.Generator().manual_seed(seed), spectral_norm)
    return SkipExcitation(make, c_source, c_target)


class DownBlock(nn.Module):
    """A block of D that halves height and width; the result is the mean of two paths."""

    def __init__(self, make: LayerFactory, c_in: int, c_out: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *half_conv(make, c_in, c_out),
            make.conv(c_out, c_out, 3, padding=1),
            make.d_norm(c_out),
            make.d_activation(),
        )
        self.direct = nn.Sequential(
            nn.AvgPool2d(2), make.conv(c_in, c_out, 1), make.d_norm(c_out), make.d_activation()
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Compute features: (B, c_in, H, W) -> (B, c_out, H/2, W/2)."""
        mean: Tensor = (self.main(x_BCHW) + self.direct(x_BCHW)) / 2
        return mean


def half_conv(make: LayerFactory, c_in: int, c_out: int) -> list[nn.Module]:
    """Return a 4x4 convolution that halves height and width, D's normalisation, and LeakyReLU."""
    return [
        make.conv(c_in, c_out, 4, stride=2, padding=1),
        make.d_norm(c_out),
        make.d_activation(),
    ]


def dropout(x: Tensor, rate: float, rng: torch.Generator | None, group: Group = ALONE) -> Tensor:
    """Apply dropout: set each value to 0 with probability `rate`, else divide it by 1 - `rate`.

    The first dimension of `x` has the samples of this process. `rng`, on the device of `x`, draws
    numbers for the samples of all processes of `group`. If `rng` is None, `x` does not change.
    """
    if rng is None or rate == 0:
        return x
    shape = (group.size * x.shape[0], *x.shape[1:])
    mask = group.local_rows(torch.rand(shape, generator=rng, device=rng.device)) >= rate
    return x * (mask / (1 - rate)).to(x.dtype)


def widths(
    multipliers: dict[int, float], resolution: int, base: int, channels: list[int] | None
) -> dict[int, int]:
    """Return {level: number of channels} for the levels in `multipliers` up to `resolution`.

    A level is a power of two. In G, a level is the side of a map in px. For D, see
    `discriminator_channels`. If `channels` is a list, its entries are the numbers of channels,
    lowest level first. If `channels` is None, a level has `base` x `multipliers[level]` channels.
    This product is rounded down, but it is at least 1.
    """
    levels = [level for level in multipliers if level <= resolution]
    if channels is not None:
        return dict(zip(levels, channels, strict=True))
    return {level: max(1, int(multipliers[level] * base)) for level in levels}


def small_resolution(resolution: int) -> int:
    """Return the side of G's small picture in px, which is `resolution` / 2, but at most 128."""
    return min(128, resolution // 2)


def full_and_small(full_BCHW: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Return G's two outputs: full-size pictures (B, C, H, W) and small pictures (B, C, h, w).

    `full_BCHW` is the output of G's last layer. If `output_activation` is tanh, the full-size
    pictures are tanh of `full_BCHW`, else they are `full_BCHW`. The small pictures are the
    full-size pictures, resized by nearest neighbour to `small_size(config)`.
    """
    if config.output_activation == "tanh":
        full_BCHW = torch.tanh(full_BCHW)
    return full_BCHW, functional.interpolate(full_BCHW, size=small_size(config))


def small_size(config: ModelConfig) -> tuple[int, int]:
    """Return the height and width of G's small picture in px."""
    return config.map_size(small_resolution(config.resolution))
