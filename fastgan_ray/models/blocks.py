"""Build the blocks that FastGAN's two networks share (Liu et al., ICLR 2021), and common helpers.

FastGAN's convolutions have no biases. Shapes: B images, C channels, H x W pixels.
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
    """A factory of initialised layers.

    `rng` (on the CPU) draws all weights; the global random number generator is not used. If
    `d_norm` names the normalisation of D (see `discriminator_norms`).
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
        """Return a convolution: weights N(0, .02), with the factory's spectral normalisation."""
        layer = nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False, device="meta")
        return self._finish(layer)

    def conv_transpose(self, c_in: int, c_out: int, kernel: tuple[int, int]) -> nn.ConvTranspose2d:
        """Return a transposed convolution, initialised and normalised like `conv`."""
        layer = nn.ConvTranspose2d(c_in, c_out, kernel, bias=False, device="meta")
        return self._finish(layer)

    def linear(self, c_in: int, c_out: int) -> nn.Linear:
        """Return a linear layer: Glorot uniform weights, biases 0, no spectral normalisation."""
        return glorot(nn.Linear(c_in, c_out, device="meta"), self._rng)

    def norm(self, channels: int) -> nn.BatchNorm2d:
        """Return a batch normalisation: scales N(1, .02), shifts 0."""
        layer = nn.BatchNorm2d(channels)
        nn.init.normal_(layer.weight, 1.0, _STD, generator=self._rng)
        return layer

    def d_norm(self, channels: int) -> nn.Module:
        """Return a normalisation layer for D."""
        if self.chain is not None:
            return Chain(channels, self.chain)
        return (
            self.norm(channels) if self._d_norm == "batch" else plain_norm(self._d_norm, channels)
        )

    def d_activation(self) -> nn.LeakyReLU:
        """Return an activation layer for D."""
        return nn.LeakyReLU(self._slope)

    def noise(self, size: tuple[int, int]) -> NoiseInjection:
        """Return a noise injection, with its own fixed noise map, for maps of `size` (H, W)."""
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
    """Initialise a layer that is on "meta": Glorot uniform weights, biases 0."""
    layer = layer.to_empty(device="cpu")
    nn.init.xavier_uniform_(layer.weight, generator=rng)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def normal(layer: _Layer, rng: torch.Generator) -> _Layer:
    """Initialise a layer that is on "meta": weights N(0, .02), biases 0 (Radford et al. 2016)."""
    layer = layer.to_empty(device="cpu")
    nn.init.normal_(layer.weight, 0.0, _STD, generator=rng)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class NoiseInjection(nn.Module):
    """A layer that adds a noise map, times a learnt scalar (at first 0), to all channels.

    `rng` draws a noise map for each sample, on the device of `rng`. If `rng` is None, all samples
    use the fixed noise map.
    """

    fixed: Tensor
    group: Group = ALONE

    def __init__(self, fixed_11HW: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("fixed", fixed_11HW, persistent=False)

    def forward(self, x_BCHW: Tensor, rng: torch.Generator | None) -> Tensor:
        """Add noise to features; the shape (B, C, H, W) does not change."""
        noise = self.fixed
        if rng is not None:
            shape = (self.group.size * x_BCHW.shape[0], 1, *x_BCHW.shape[2:])
            noise = self.group.local_rows(torch.randn(shape, generator=rng, device=rng.device))
        # Cast the product: under autocast, adding float32 would convert the features to float32.
        return x_BCHW + (self.weight * noise.to(self.weight)).to(x_BCHW.dtype)


class GatedConv(nn.Module):
    """A convolution to 2c channels, optional noise, BatchNorm, and a gated linear unit."""

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
        """Compute features with half of the convolution's output channels: (B, c, side, side).

        If `double`, the side is doubled before the convolution.
        """
        x_BCHW = upsample_conv2x(x_BCHW, self.conv) if double else self.conv(x_BCHW)
        if self.noise is not None:
            x_BCHW = self.noise(x_BCHW, rng)
        return gated(self.norm(x_BCHW))


class UpBlock(nn.Module):
    """A block that doubles the side (nearest neighbour), then applies gated 3x3 convolutions."""

    def __init__(self, *layers: GatedConv) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x_BCHW: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Compute features of twice the side: (B, c_in, H, W) -> (B, c_out, 2H, 2W)."""
        for index, layer in enumerate(self.layers):
            x_BCHW = layer(x_BCHW, rng, double=index == 0)
        return x_BCHW


def plain_up(make: LayerFactory, c_in: int, c_out: int) -> UpBlock:
    """Return an up block with one gated convolution and no noise."""
    return UpBlock(GatedConv(make.conv(c_in, 2 * c_out, 3, padding=1), make.norm(2 * c_out)))


def compound_up(
    make: LayerFactory, c_in: int, c_out: int, noise_size: tuple[int, int] | None
) -> UpBlock:
    """Return an up block with two gated convolutions.

    Before each BatchNorm, noise is added to maps of `noise_size` (H, W). If it is None, there is no
    noise.
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
    """Skip-layer excitation: features of a small map gate the channels of a larger map."""

    def __init__(self, make: LayerFactory, c_source: int, c_target: int) -> None:
        super().__init__()
        self.squeeze = make.conv(c_source, c_target, 4)
        self.excite = make.conv(c_target, c_target, 1)

    def forward(self, source_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
        """Multiply each channel of `target` by a gate in (0, 1) that is computed from `source`."""
        pooled = functional.adaptive_avg_pool2d(source_BCHW, 4)
        gate_BC11 = torch.sigmoid(self.excite(functional.silu(self.squeeze(pooled))))
        return target_BCHW * gate_BC11


def skip_layer_excitation(
    c_source: int, c_target: int, spectral_norm: bool = True, seed: int = 0
) -> SkipExcitation:
    """Build a new skip-layer excitation (SLE) block of FastGAN, for use in another network.

    It takes a small map (B, c_source, h, w), h and w at least 4, and a larger map (B, c_target, H,
    W), and returns (B, c_target, H, W). `seed` is the seed of the weights. With `spectral_norm`, as
    in FastGAN, the weights are normalised. Raises ValueError for fewer than one channel.
    """
    if min(c_source, c_target) < 1:
        raise ValueError(f"channels must be at least 1 (got {c_source} and {c_target})")
    make = LayerFactory(torch.Generator().manual_seed(seed), spectral_norm)
    return SkipExcitation(make, c_source, c_target)


class DownBlock(nn.Module):
    """A block that halves the side: the mean of a convolutional path and a pooled path."""

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
        """Compute features of half the side: (B, c_in, H, W) -> (B, c_out, H/2, W/2)."""
        mean: Tensor = (self.main(x_BCHW) + self.direct(x_BCHW)) / 2
        return mean


def half_conv(make: LayerFactory, c_in: int, c_out: int) -> list[nn.Module]:
    """Return the layers that halve the side in D: 4x4 convolution, BatchNorm, LeakyReLU."""
    return [
        make.conv(c_in, c_out, 4, stride=2, padding=1),
        make.d_norm(c_out),
        make.d_activation(),
    ]


def dropout(x: Tensor, rate: float, rng: torch.Generator | None, group: Group = ALONE) -> Tensor:
    """Set the fraction `rate` of the values to 0, and scale up the others (dropout).

    The first dimension of `x` has the samples of this process. `rng`, on the device of `x`, draws
    numbers for the samples of all processes of `group`. If `rng` is None or `rate` is 0, `x` does
    not change.
    """
    if rng is None or rate == 0:
        return x
    shape = (group.size * x.shape[0], *x.shape[1:])
    mask = group.local_rows(torch.rand(shape, generator=rng, device=rng.device)) >= rate
    return x * (mask / (1 - rate)).to(x.dtype)


def widths(
    multipliers: dict[int, float], resolution: int, base: int, channels: list[int] | None
) -> dict[int, int]:
    """Compute {level: number of channels} for the levels up to `resolution`.

    A level (8, 16, 32, ...) names a block. In G, it is the side of the block's output in px; in D,
    see `model.d_channels`. `multipliers` has a multiplier for each level. If `channels` is a list,
    it contains the numbers of channels. If `channels` is None, each number is multiplier x `base`,
    rounded down, and at least 1.
    """
    levels = [level for level in multipliers if level <= resolution]
    if channels is not None:
        return dict(zip(levels, channels, strict=True))
    return {level: max(1, int(multipliers[level] * base)) for level in levels}


def small_resolution(resolution: int) -> int:
    """Return the side in px of the generator's small picture: half the resolution, at most 128."""
    return min(128, resolution // 2)


def full_and_small(full_BCHW: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Return G's two outputs, made from the pictures (B, C, R, R) of its last layer.

    The first output has the full size, after tanh if `output_activation` is tanh. The second
    output is the first one, resized by nearest neighbour to `small_size(config)`.
    """
    if config.output_activation == "tanh":
        full_BCHW = torch.tanh(full_BCHW)
    return full_BCHW, functional.interpolate(full_BCHW, size=small_size(config))


def small_size(config: ModelConfig) -> tuple[int, int]:
    """Return the height and width of the generator's small picture."""
    return config.map_size(small_resolution(config.resolution))
