"""Build FastGAN's generator, which computes a picture at two sizes from a latent."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastgan_ray.config.frequency_fields import SIDES
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.models.base import AnyGenerator
from fastgan_ray.models.blocks import (
    GatedConv,
    LayerFactory,
    SkipExcitation,
    UpBlock,
    compound_up,
    plain_up,
    small_resolution,
    widths,
)
from fastgan_ray.models.spectral_joint import JointSpectralNorm
from fastgan_ray.models.wavelets import details

# Side in px -> number of channels, in units of ngf.
_MULTIPLIERS = {4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 0.5, 512: 0.25, 1024: 0.125}
# The sides of the published blocks with two convolutions.
COMPOUND_SIDES = (8, 32, 128, 512)


class Generator(AnyGenerator):
    """FastGAN's generator.

    `stem` computes a 4x4 map from the latent. Each of `blocks` doubles the height and width of the
    map. The key of a block is the side of the block's output in px. `skips` has the skip-layer
    excitations, which multiply the outputs of some blocks by gates. `wavelet_skips` has the
    convolutions of FreGAN's frequency skips. A skip has the same key as its block. `to_small` and
    `to_full` compute the pictures. If `model.aspect` is not square, the first map has the
    proportions of the aspect, and the keys are the sides that square pictures would have.
    """

    def __init__(self, config: ModelConfig, make: LayerFactory, picture_channels: int) -> None:
        super().__init__()
        self.config = config
        self.picture_channels = picture_channels
        channels = generator_channels(config)
        self.stem = GatedConv(
            make.conv_transpose(config.nz, 2 * channels[4], config.map_size(4)),
            make.norm(2 * channels[4]),
        )
        self.blocks = nn.ModuleDict(
            {str(side): _up_block(config, make, side, channels) for side in channels if side > 4}
        )
        self._sources = skip_sources(config)
        self._styled = {side for side in self._sources if side > 64} or set(self._sources)
        self.skips = nn.ModuleDict(
            {
                str(target): SkipExcitation(make, channels[source], channels[target])
                for target, source in self._sources.items()
            }
        )
        self._small_side = small_resolution(config.resolution)
        self.to_small = make.conv(channels[self._small_side], picture_channels, 1)
        self.to_full = make.conv(channels[config.resolution], picture_channels, 3, padding=1)
        # Made after all other layers, so that the initial weights of those do not depend on these.
        self._wavelet_sources = wavelet_sources(config)
        self.wavelet_skips = nn.ModuleDict(
            {
                str(target): make.conv(channels[source], channels[target // 2], 1)
                for target, source in self._wavelet_sources.items()
            }
        )
        self._spectral = JointSpectralNorm(self)

    def forward(self, z_BZ: Tensor, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Generate full-size pictures (B, C, H, W) and small pictures (B, C, h, w).

        The latents `z_BZ` are (B, nz), and (h, w) is `small_size(config)`. The values are in [-1,
        1] if `output_activation` is tanh, else they are unbounded. `rng` draws the injected noise.
        If `rng` is None, every sample gets the same fixed noise maps.
        """
        with self._spectral.normalised():
            return self._pictures(self._features(z_BZ, rng))

    def feature_layers(self) -> list[nn.Module]:
        """List the layers whose outputs MixDL compares: the blocks, smallest maps first."""
        return list(self.blocks.values())

    def mix(self, content_BZ: Tensor, style_BZ: Tensor) -> tuple[Tensor, Tensor]:
        """Generate pictures with the layout of the latent `content_BZ` and the style of `style_BZ`.

        Both latents are (B, nz). This is style mixing (Liu et al. 2021): the features are computed
        from `content_BZ`, and the gates that multiply features of more than 64 px are computed from
        `style_BZ`. If the generator has no gates at more than 64 px, all gates are computed from
        `style_BZ`. Noise maps are fixed. Returns full-size and small pictures, like `forward`.
        """
        with self._spectral.normalised():
            style = self._features(style_BZ, None)
            return self._pictures(self._features(content_BZ, None, style))

    def _features(
        self, z_BZ: Tensor, rng: torch.Generator | None, style: dict[int, Tensor] | None = None
    ) -> dict[int, Tensor]:
        """Compute the maps of all sizes: {side in px: map (B, C, side, side)}.

        If `style` is given, it has the maps of another latent, for style mixing. The gates that
        multiply maps of the sides in `_styled` are then computed from `style`.
        """
        features = {4: self.stem(z_BZ[:, :, None, None])}
        for name, block in self.blocks.items():
            side = int(name)
            x_BCHW = block(self._block_input(side, features), rng)
            if side in self._sources:
                gating = features if style is None or side not in self._styled else style
                x_BCHW = self.skips[name](gating[self._sources[side]], x_BCHW)
            features[side] = x_BCHW
        return features

    def _block_input(self, side: int, features: dict[int, Tensor]) -> Tensor:
        """Return the input of the block whose output has the side `side`.

        Without a frequency skip, the input is the map of side `side` / 2. With a frequency skip,
        high frequencies are added to this map. They come from the map of side `side` / 4, pass
        through a 1x1 convolution, and are doubled in height and width.
        """
        x_BCHW = features[side // 2]
        if side not in self._wavelet_sources:
            return x_BCHW
        added = self.wavelet_skips[str(side)](details(features[self._wavelet_sources[side]]))
        return x_BCHW + F.interpolate(added, scale_factor=2, mode="nearest")

    def _pictures(self, features: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
        full = self.to_full(features[self.config.resolution])
        small = self.to_small(features[self._small_side])
        if self.config.output_activation == "tanh":
            return torch.tanh(full), torch.tanh(small)
        return full, small


def fastgan_generator(
    config: ModelConfig, rng: torch.Generator, picture_channels: int = 3
) -> Generator:
    """Build a newly initialised generator on the CPU, in training mode.

    `rng` (on the CPU) draws the weights.
    """
    return Generator(config, LayerFactory(rng, config.spectral_norm), picture_channels)


def generator_channels(config: ModelConfig) -> dict[int, int]:
    """Return {side in px: number of channels} for maps of side 4, 8, ... up to the resolution."""
    return widths(_MULTIPLIERS, config.resolution, config.ngf, config.g_channels)


def skip_sources(config: ModelConfig) -> dict[int, int]:
    """Return {target: source} for each enabled skip-layer excitation, as sides in px.

    The gates are computed from the map of side `source`, and multiply the map of side `target`. The
    target is 16 times the source, or 8 times at resolution 32.
    """
    enabled = {4: config.g_sle_4, 8: config.g_sle_8, 16: config.g_sle_16, 32: config.g_sle_32}
    # At resolution 32 there are no features of 64 px. Instead, the features of 4 px gate those of
    # 32 px.
    sites = {4: 32} if config.resolution == 32 else {source: 16 * source for source in enabled}
    return {
        target: source
        for source, target in sites.items()
        if enabled[source] and target <= config.resolution
    }


def wavelet_sources(config: ModelConfig) -> dict[int, int]:
    """Return {target: source} for each of FreGAN's frequency skips, as sides in px.

    The skip goes from the map of side `source` to the block whose output has the side `target`. The
    target is four times the source. There is one skip at resolution 32, two at 64, and three above;
    none if `g_wavelet_skips` is off.
    """
    if not config.g_wavelet_skips:
        return {}
    return {4 * side: side for side in SIDES if 4 * side <= config.resolution}


def convolution_count(config: ModelConfig, side: int) -> int:
    """Return the number of convolutions in the block whose output has a side of `side` px."""
    published = 2 if side in COMPOUND_SIDES else 1
    return {"mixed": published, "single": 1, "double": 2}[config.g_blocks]


def _up_block(
    config: ModelConfig, make: LayerFactory, side: int, channels: dict[int, int]
) -> UpBlock:
    c_in, c_out = channels[side // 2], channels[side]
    if convolution_count(config, side) == 2:
        return compound_up(make, c_in, c_out, config.map_size(side) if config.g_noise else None)
    return plain_up(make, c_in, c_out)
