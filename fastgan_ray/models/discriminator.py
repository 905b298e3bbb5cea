"""Build FastGAN's discriminator: a big and a small branch with logits, and decoders."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan_ray.config.frequency_fields import SIDES
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.models.base import AnyDiscriminator
from fastgan_ray.models.blocks import (
    DownBlock,
    LayerFactory,
    SkipExcitation,
    dropout,
    half_conv,
    small_resolution,
    widths,
)
from fastgan_ray.models.decoders import crop_part, decoders
from fastgan_ray.models.spectral_joint import JointSpectralNorm
from fastgan_ray.models.wavelets import high_frequencies, matched

# Level -> number of channels, in units of ndf. The names of the levels are those of the published
# network: the features of level s have a side of s/2 px after the stem, e.g. 128 px at level 256.
_MULTIPLIERS = {8: 16, 16: 8, 32: 4, 64: 2, 128: 1, 256: 0.5, 512: 0.25, 1024: 0.125}
# The output of a down block is gated by the features from this many blocks earlier.
_SKIP_DISTANCE = 3


class Discriminator(AnyDiscriminator):
    """FastGAN's discriminator with a big branch, an optional small branch, and decoders.

    The big branch sees the full-size picture. It consists of `stem`, `blocks`, `skips` and `head`.
    A key of `skips` is the index of a block. The small branch, `small` and `small_head`, sees the
    small picture. `decoders` has the enabled decoders among "full", "small" and "part". It is empty
    if `self_supervision` includes no reconstruction.
    """

    def __init__(self, config: ModelConfig, make: LayerFactory, picture_channels: int) -> None:
        super().__init__()
        self.config = config
        self.picture_channels = picture_channels
        channels = discriminator_channels(config)
        # Up to 256 px the stem keeps the side. Above, the stem halves the side down to 256 px.
        top = min(2 * config.resolution, 512)
        block_levels = _halvings(top // 2, 16)
        self.stem = _stem(make, config.resolution, channels, picture_channels)
        self.blocks = nn.ModuleList(
            DownBlock(make, channels[2 * level], channels[level]) for level in block_levels
        )
        self.skips = _skips(make, channels, top, block_levels) if config.d_sle else nn.ModuleDict()
        self.head = nn.Sequential(
            make.conv(channels[16], channels[8], 1),
            make.d_norm(channels[8]),
            make.d_activation(),
            make.conv(channels[8], 1, 4),
        )
        self.small: nn.Sequential | None = None
        self.small_head: nn.Conv2d | None = None
        if config.d_small:
            side = small_resolution(config.resolution)
            self.small = _small_branch(make, side, channels, picture_channels)
            self.small_head = make.conv(channels[32], 1, 4)
        self.chain = make.chain
        self.decoders = decoders(make, config, channels, picture_channels)
        self.add_heads(config, make, channels[16])
        trunk = [self.stem, self.blocks, self.skips]
        branches = [self.head, *filter(None, (self.small, self.small_head))]
        self._trunk_norm = JointSpectralNorm(*trunk)
        self._embedding_norm = JointSpectralNorm(*trunk, *filter(None, [self.projection]))
        self._logits_norm = JointSpectralNorm(*trunk, *branches)
        self._decoding_norm = JointSpectralNorm(*trunk, *branches, self.decoders)

    def forward(
        self,
        full: Tensor,
        small: Tensor,
        part: int | Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute logits (B, `config.logits`), and reconstructions {name of the decoder: pictures}.

        `full` (B, C, H, W) and `small` (B, C, h, w) are the same pictures at two sizes, with values
        in [-1, 1]; (h, w) is `small_size(config)`. For square pictures, the order of the logits is:
        25 from the big branch, 25 from the small branch (if it exists), and 25 for each of
        `config.judged_sides`.

        If `part` is None, nothing is reconstructed. Otherwise, each enabled decoder reconstructs
        pictures in [-1, 1]. Square reconstructions have a side of at most 128 px. The decoder
        "part" reconstructs `crop_part(full, part)`. `rng`, on the pictures' device, draws the
        dropout masks. If `rng` is None, there is no dropout.
        """
        norm = self._logits_norm if part is None else self._decoding_norm
        with norm.normalised(), self.drawing(rng):
            return self._judge(full, small, part, rng)

    def blocks_from_picture(self) -> list[list[nn.Module]]:
        """List D's blocks from the picture to the logits; each block is a list of its modules.

        The first block is the stem. Each other block is a down block, with its skip if it has one.
        The layers of the small branch are distributed over the blocks: block n also has convolution
        n of the small branch, and the layers that follow until the next convolution.
        """
        blocks: list[list[nn.Module]] = [[self.stem]]
        for index, block in enumerate(self.blocks):
            skips = [self.skips[str(index)]] if str(index) in self.skips else []
            blocks.append([block, *skips])
        position = -1
        for layer in self.small or ():
            position += isinstance(layer, nn.Conv2d)
            blocks[position].append(layer)
        return blocks

    def trunk(self, full: Tensor) -> Tensor:
        """Compute the big branch's last features: (B, C, H, W) -> (B, K, 8, 8) if H = W."""
        with self._trunk_norm.normalised():
            return self._features(full)[-1]

    def embed(self, full: Tensor) -> Tensor:
        """Return the embeddings (B, 128) of pictures (B, C, H, W) for the contrastive loss."""
        assert self.projection is not None
        with self._embedding_norm.normalised():
            embedding_BK: Tensor = self.projection(self._features(full)[-1])
        return embedding_BK

    def _judge(
        self, full: Tensor, small: Tensor, part: int | Tensor | None, rng: torch.Generator | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        features = self._features(full)
        self._keep(features[-1])
        if self._kept_maps is not None and not self._kept_maps:
            self._kept_maps += [maps.detach() for maps in features[: -len(SIDES) - 1 : -1]]
        rate = self.config.dropout
        logits = [self.head(dropout(features[-1], rate, rng, self.group)).flatten(1)]
        decodable = {"full": features[-1]}
        if self.small is not None and self.small_head is not None:
            decodable["small"] = self.small(small)
            small_features = dropout(decodable["small"], rate, rng, self.group)
            logits.append(self.small_head(small_features).flatten(1))
        for maps in self._high_frequencies(features):
            logits.append(self.head(dropout(maps, rate, rng, self.group)).flatten(1))
        if part is None:
            return torch.cat(logits, dim=1), {}
        decodable["part"] = crop_part(features[-2], part)
        reconstructions = {
            name: decoder(decodable[name]) for name, decoder in self.decoders.items()
        }
        return torch.cat(logits, dim=1), reconstructions

    def _high_frequencies(self, features: list[Tensor]) -> list[Tensor]:
        """Compute features from the high frequencies of some maps of the big branch.

        `features` has all maps. `config.judged_sides` has the sizes, in px, of those that are used.
        The high frequencies of a map have the size of the next map. `matched` gives them the next
        map's number of channels. They then pass through the blocks after the next map, without
        skips. The result has one tensor for each used map: (B, K, 8, 8) if pictures are square.
        """
        processed = []
        for side in self.config.judged_sides:
            blocks_left = (side // 16).bit_length()  # blocks that follow a map of this side
            x_BCHW = high_frequencies(features[-1 - blocks_left])
            x_BCHW = matched(x_BCHW, features[-blocks_left].shape[1])
            for block in self.blocks[len(self.blocks) - blocks_left + 1 :]:
                x_BCHW = block(x_BCHW)
            processed.append(x_BCHW)
        return processed

    def _features(self, full: Tensor) -> list[Tensor]:
        features: list[Tensor] = [self.stem(full)]
        for index, block in enumerate(self.blocks):
            x_BCHW = block(features[-1])
            if str(index) in self.skips:
                x_BCHW = self.skips[str(index)](features[index + 1 - _SKIP_DISTANCE], x_BCHW)
            features.append(x_BCHW)
        return features


def fastgan_discriminator(
    config: ModelConfig, rng: torch.Generator, picture_channels: int = 3
) -> Discriminator:
    """Build a newly initialised discriminator on the CPU, in training mode.

    `rng` (on the CPU) draws the weights.
    """
    make = LayerFactory(rng, config.spectral_norm, config.d_norm, config.d_slope)
    return Discriminator(config, make, picture_channels)


def discriminator_channels(config: ModelConfig) -> dict[int, int]:
    """Return {level: number of channels of D's features at this level}.

    The levels are 8, 16, ..., `resolution`, and also 2 x `resolution` if `resolution` is at most
    256. Level 8 is the hidden layer of `Discriminator.head`. For each other level s, square
    features have s/2 x s/2 px in the big branch, and s/4 x s/4 px in the small branch.
    """
    channels = widths(_MULTIPLIERS, config.resolution, config.ndf, config.d_channels)
    if config.resolution <= 256:
        channels[2 * config.resolution] = max(1, channels[config.resolution] // 2)
    return channels


def _stem(
    make: LayerFactory, resolution: int, channels: dict[int, int], picture_channels: int
) -> nn.Sequential:
    """Return the layers that compute the input of the first down block from the full-size picture.

    This input has a side of `resolution`, but at most 256 px.
    """
    if resolution <= 256:
        first = make.conv(picture_channels, channels[2 * resolution], 3, padding=1)
    else:
        first = make.conv(picture_channels, channels[resolution], 4, stride=2, padding=1)
    halvings = half_conv(make, channels[1024], channels[512]) if resolution == 1024 else []
    return nn.Sequential(first, make.d_activation(), *halvings)


def _skips(
    make: LayerFactory, channels: dict[int, int], top: int, block_levels: list[int]
) -> nn.ModuleDict:
    """Return {index of a block: the skip-layer excitation that multiplies the block's output}.

    An index is a text, because the keys of `nn.ModuleDict` are texts.
    """
    sources = [top, *block_levels]
    return nn.ModuleDict(
        {
            str(index): SkipExcitation(
                make,
                channels[sources[index + 1 - _SKIP_DISTANCE]],
                channels[block_levels[index]],
            )
            for index in range(_SKIP_DISTANCE - 1, len(block_levels))
        }
    )


def _small_branch(
    make: LayerFactory, side: int, channels: dict[int, int], picture_channels: int
) -> nn.Sequential:
    """Return layers that compute features of 8x8 px from a small picture of `side` x `side` px.

    The features have `channels[32]` channels.
    """
    first, *rest = _halvings(2 * side, 32)
    steps: list[nn.Module] = []
    for level in rest:
        steps += half_conv(make, channels[2 * level], channels[level])
    return nn.Sequential(
        make.conv(picture_channels, channels[first], 4, stride=2, padding=1),
        make.d_activation(),
        *steps,
    )


def _halvings(start: int, stop: int) -> list[int]:
    """List the sides from `start` down to `stop`: `_halvings(128, 16)` -> [128, 64, 32, 16]."""
    return [start >> shift for shift in range((start // stop).bit_length())]
