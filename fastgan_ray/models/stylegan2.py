"""Build StyleGAN2 (Karras et al., CVPR 2020): a skip generator and a residual discriminator.

With ngf = ndf = 64 and nz = 512, the networks have the widths of the paper's configuration E. With
other values, all numbers of channels change in proportion. Vectors of the latent space W also have
nz numbers. Training uses neither style mixing nor path length regularisation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.models.base import AnyDiscriminator, AnyGenerator
from fastgan_ray.models.blocks import LayerFactory, NoiseInjection, dropout, full_and_small, widths
from fastgan_ray.models.style_layers import (
    Constant,
    ConvEqual,
    ConvModulated,
    LinearEqual,
    activated,
    with_deviation,
)

# Side in px -> number of channels, in units of ngf or ndf.
_MULTIPLIERS = {4: 8, 8: 8, 16: 8, 32: 8, 64: 4, 128: 2, 256: 1, 512: 0.5, 1024: 0.25}
_MAPPING_LAYERS, _MAPPING_RATE = 8, 0.01
_LAYOUT_SIDES = (4, 8)  # sides in px whose styles decide the layout (Karras et al. 2019: "coarse")


class StyleGan2Generator(AnyGenerator):
    """StyleGAN2's generator.

    `mapping` maps latents to the space W, and `constant` is the first map. `blocks` has a block for
    each size of maps. The key of a block is the side of its maps in px. A picture is the sum of the
    outputs of the blocks' layers `to_rgb`. If `model.aspect` is not square, the first map has the
    proportions of the aspect, and the keys are the sides that square pictures would have.
    """

    def __init__(
        self, config: ModelConfig, rng: torch.Generator, picture_channels: int = 3
    ) -> None:
        super().__init__()
        self.config = config
        self.picture_channels = picture_channels
        channels = stylegan2_channels(config, config.ngf)
        self.mapping = nn.ModuleList(
            LinearEqual(rng, config.nz, config.nz, rate=_MAPPING_RATE)
            for _ in range(_MAPPING_LAYERS)
        )
        self.constant = Constant(rng, channels[4], config.map_size(4))
        make = LayerFactory(rng, spectral=False)
        self.blocks = nn.ModuleDict()
        for side, width in channels.items():
            convolutions = [(channels[side // 2], True)] if side > 4 else []
            noises = [
                make.noise(config.map_size(side)) if config.g_noise else None
                for _ in (*convolutions, None)
            ]
            self.blocks[str(side)] = StyledBlock(
                rng, [*convolutions, (width, False)], width, config.nz, picture_channels, noises
            )

    def forward(self, z_BZ: Tensor, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Generate full-size pictures (B, C, H, W) and small pictures (B, C, h, w).

        The latents `z_BZ` are (B, nz); only their directions have an effect. The small pictures are
        the full-size pictures after resizing. The values are in [-1, 1] if `output_activation` is
        tanh, else they are unbounded. `rng` draws the injected noise. If `rng` is None, every
        sample gets the same fixed noise maps.
        """
        w_BW = self._map(z_BZ)
        return self._pictures(w_BW, w_BW, rng)

    def feature_layers(self) -> list[nn.Module]:
        """List the layers whose outputs MixDL compares: the last convolution of each block.

        The layer with the smallest map is the first.
        """
        blocks = [block for block in self.blocks.values() if isinstance(block, StyledBlock)]
        return [block.layers[-1] for block in blocks]

    def mix(self, content_BZ: Tensor, style_BZ: Tensor) -> tuple[Tensor, Tensor]:
        """Generate pictures with the layout of the latent `content_BZ` and the style of `style_BZ`.

        Both latents are (B, nz). The styles of maps of 4 and 8 px are computed from `content_BZ`,
        and the styles of larger maps from `style_BZ`. Noise maps are fixed. Returns full-size and
        small pictures, like `forward`.
        """
        return self._pictures(self._map(content_BZ), self._map(style_BZ), None)

    def _map(self, z_BZ: Tensor) -> Tensor:
        """Map latents to the space W: (B, nz) -> (B, nz)."""
        w_BW = z_BZ * (z_BZ.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.mapping:
            w_BW = activated(layer(w_BW))
        return w_BW

    def _pictures(
        self, layout_BW: Tensor, style_BW: Tensor, rng: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        x_BCHW: Tensor = self.constant(layout_BW)
        full: Tensor | None = None
        for name, block in self.blocks.items():
            w_BW = layout_BW if int(name) in _LAYOUT_SIDES else style_BW
            x_BCHW, rgb = block(x_BCHW, w_BW, rng)
            full = rgb if full is None else _doubled(full) + rgb
        assert full is not None
        return full_and_small(full, self.config)


class StyledBlock(nn.Module):
    """A block of styled convolutions, each with LeakyReLU, and the layer `to_rgb`.

    `convolutions` has a pair for each styled convolution: the number of its input channels, and
    whether the convolution doubles height and width. `width` is the number of output channels.
    `noises` has the noise layer of each convolution, or None for a convolution without noise.
    """

    def __init__(
        self,
        rng: torch.Generator,
        convolutions: list[tuple[int, bool]],
        width: int,
        nz: int,
        picture_channels: int,
        noises: list[NoiseInjection | None],
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            StyledConv(ConvModulated(rng, c_in, width, 3, doubles=doubles), rng, nz, noise)
            for (c_in, doubles), noise in zip(convolutions, noises, strict=True)
        )
        to_rgb = ConvModulated(rng, width, picture_channels, 1, demodulates=False)
        self.to_rgb = StyledConv(to_rgb, rng, nz, None)

    def forward(
        self, x_BCHW: Tensor, w_BW: Tensor, rng: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Return features (B, width, H, W), and colours (B, C, H, W) to add to the pictures.

        `w_BW` are the latents in W, and `rng` draws the noise (None: fixed noise maps).
        """
        for layer in self.layers:
            x_BCHW = activated(layer(x_BCHW, w_BW, rng))
        return x_BCHW, self.to_rgb(x_BCHW, w_BW, None)


class StyledConv(nn.Module):
    """A modulated convolution with optional noise.

    The layer `affine` computes the style of the convolution from a latent in W.
    """

    def __init__(
        self, conv: ConvModulated, rng: torch.Generator, nz: int, noise: NoiseInjection | None
    ) -> None:
        super().__init__()
        self.affine = LinearEqual(rng, nz, conv.in_channels, bias=1.0)
        self.conv = conv
        self.noise = noise

    def forward(self, x_BCHW: Tensor, w_BW: Tensor, rng: torch.Generator | None) -> Tensor:
        """Compute features from features `x_BCHW` and latents in W, `w_BW` (B, nz).

        `rng` draws the noise. If it is None, the noise map is fixed.
        """
        x_BCHW = self.conv(x_BCHW, self.affine(w_BW))
        return x_BCHW if self.noise is None else self.noise(x_BCHW, rng)


class StyleGan2Discriminator(AnyDiscriminator):
    """StyleGAN2's residual discriminator.

    `from_rgb` computes features of the picture, and `blocks` halve height and width until the map
    has 4x4 px. Then a channel with the minibatch standard deviation is appended, so a logit also
    depends on other pictures of the batch. `conv`, `hidden` and `head` compute the logit.
    """

    def __init__(
        self, config: ModelConfig, rng: torch.Generator, picture_channels: int = 3
    ) -> None:
        super().__init__()
        self.config = config
        self.picture_channels = picture_channels
        channels = stylegan2_channels(config, config.ndf)
        self.from_rgb = ConvEqual(rng, picture_channels, channels[config.resolution], 1)
        self.blocks = nn.ModuleList(
            ResidualHalf(rng, channels[side], channels[side // 2])
            for side in sorted(channels, reverse=True)
            if side > 4
        )
        self.conv = ConvEqual(rng, channels[4] + 1, channels[4], 3)
        features = channels[4] * math.prod(config.map_size(4))
        self.hidden = LinearEqual(rng, features, channels[4])
        self.head = LinearEqual(rng, channels[4], 1)
        self.add_heads(config, LayerFactory(rng, spectral=False), channels[8])

    def forward(
        self,
        full: Tensor,
        small: Tensor,
        part: int | Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the logits (B, 1) of pictures `full` (B, C, H, W) in [-1, 1].

        The second result, the reconstructions, is empty. `small` and `part` are unused. `rng` draws
        the dropout masks; if it is None, there is no dropout.
        """
        x_BCHW = with_deviation(self.blocks[-1](self._keep(self.trunk(full))), self.group)
        features = activated(self.hidden(activated(self.conv(x_BCHW)).flatten(1)))
        return self.head(dropout(features, self.config.dropout, rng, self.group)), {}

    def blocks_from_picture(self) -> list[list[nn.Module]]:
        """List D's blocks from the picture to the logits; each block is a list of its modules.

        The first block also has the layer `from_rgb`.
        """
        first, *others = self.blocks
        return [[self.from_rgb, first], *([block] for block in others)]

    def trunk(self, full: Tensor) -> Tensor:
        """Compute the features before the last block: (B, C, H, W) -> (B, K, 8, 8) if H = W."""
        x_BCHW = activated(self.from_rgb(full))
        for block in self.blocks[:-1]:
            x_BCHW = block(x_BCHW)
        return x_BCHW


class ResidualHalf(nn.Module):
    """A residual block of D that halves height and width.

    It has two 3x3 convolutions, and a 1x1 convolution on the skip path.
    """

    def __init__(self, rng: torch.Generator, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv1 = ConvEqual(rng, c_in, c_in, 3)
        self.conv2 = ConvEqual(rng, c_in, c_out, 3, halves=True)
        self.skip = ConvEqual(rng, c_in, c_out, 1, halves=True, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Compute features: (B, c_in, H, W) -> (B, c_out, H/2, W/2)."""
        h_BCHW = activated(self.conv2(activated(self.conv1(x_BCHW))))
        sum_BCHW: Tensor = h_BCHW + self.skip(x_BCHW)
        return sum_BCHW / math.sqrt(2)


def stylegan2_channels(config: ModelConfig, base: int) -> dict[int, int]:
    """Return {side in px: number of channels} for maps of side 4, 8, ... up to the resolution.

    `base` is `config.ngf` for G and `config.ndf` for D.
    """
    return widths(_MULTIPLIERS, config.resolution, base, None)


def _doubled(x_BCHW: Tensor) -> Tensor:
    """Double the height and width of pictures bilinearly.

    This is the same as the filter [1, 3, 3, 1] of `style_layers`, except at the borders.
    """
    return functional.interpolate(x_BCHW, scale_factor=2, mode="bilinear", align_corners=False)
