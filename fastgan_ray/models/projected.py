"""Build a projected discriminator: small discriminators on the features of a frozen network.

Sauer et al., "Projected GANs Converge Faster" (NeurIPS 2021). A network that was trained on other
pictures computes features at four strides. Random layers, which are never trained, mix their
channels and then their scales, so that each discriminator sees all depths. A discriminator for each
of the four mixed maps computes logits; the loss is the mean over all of them. The pictures get a
gradient through the frozen layers.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.projected import Size, halving_count, level_of
from fastgan_ray.data.channels import WHITE, as_rgb
from fastgan_ray.models.base import AnyDiscriminator
from fastgan_ray.models.blocks import LayerFactory, dropout, half_conv
from fastgan_ray.models.spectral_joint import JointSpectralNorm
from fastgan_ray.pretrained.efficientnet import (
    fold_batch_norms,
    load_efficientnet,
    weights_sha256,
)

# The numbers of channels of the four maps, the largest first: after the first random layers, and
# after all random layers.
_FIRST_WIDTHS = (64, 128, 256, 512)
MIXED_WIDTHS = (64, 64, 128, 256)
# Pixel values v are -1 to 1 here, and (127.5 v + 127.5 - 127) / 128 in the frozen network.
_SCALE, _SHIFT = 127.5 / 128, 0.5 / 128


class ProjectedDiscriminator(AnyDiscriminator):
    """A discriminator on frozen features: `features`, random `mixing`, then `blocks` and `heads`.

    `blocks` has a sequence of blocks that halve the side, for each of the four mixed maps, and
    `heads` the layers that compute their logits. Only these are trained. The weights of `features`
    are not in the state dict; `frozen_network` says which file they come from.
    """

    def __init__(
        self, config: ModelConfig, rng: torch.Generator, picture_channels: int = 3
    ) -> None:
        super().__init__()
        self.config = config
        self.picture_channels = picture_channels
        self.features = FrozenFeatures(config.d_features, config.network_input)
        self.frozen_network = {
            "name": config.d_features,
            "sha256": weights_sha256(config.d_features),
        }
        # The name of the network is in the tensors' names, because the random layers and the heads
        # fit no other network.
        mixing = RandomMixing(self.features.channels, config.projected_maps, rng)
        self.mixing = nn.ModuleDict({config.d_features: mixing})
        make = LayerFactory(rng, config.spectral_norm, config.d_norm, config.d_slope)
        maps = list(zip(MIXED_WIDTHS, config.projected_maps, strict=True))
        self.blocks = nn.ModuleList(
            _halving_blocks(make, config, width, size) for width, size in maps
        )
        self.heads = nn.ModuleList(
            make.conv(_last_width(config, width, size), 1, 4) for width, size in maps
        )
        self.add_heads(config, make, _last_width(config, *maps[0]))
        self._trunk_norm = JointSpectralNorm(self.blocks[0])
        self._embedding_norm = JointSpectralNorm(self.blocks[0], *filter(None, [self.projection]))
        self._logits_norm = JointSpectralNorm(self.blocks, self.heads)

    def forward(
        self,
        full: Tensor,
        small: Tensor,
        part: int | Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the logits (B, `config.logits`) of pictures (B, C, H, W) in [-1, 1].

        The logits of the four maps follow each other, those of the largest map first. There are no
        reconstructions, and `small` and `part` are unused. `rng`, on the pictures' device, draws
        the masks for the dropout before the heads; if it is None, there is no dropout.
        """
        mixed, rate = self.mixed_features(full), self.config.dropout
        with self._logits_norm.normalised():
            maps = [blocks(x_BCHW) for x_BCHW, blocks in zip(mixed, self.blocks, strict=True)]
            if self._kept is not None:
                self._keep(self._resized(maps[0]))
            logits = [
                head(dropout(x_BCHW, rate, rng, self.group)).flatten(1)
                for x_BCHW, head in zip(maps, self.heads, strict=True)
            ]
        return torch.cat(logits, dim=1), {}

    def blocks_from_picture(self) -> list[list[nn.Module]]:
        """Return a list of blocks for each side of the maps that they halve, largest side first."""
        count = self.config.d_blocks
        lists: list[list[nn.Module]] = [[] for _ in range(count)]
        for blocks in self.blocks:
            assert isinstance(blocks, nn.Sequential)
            for index, block in enumerate(blocks, start=count - len(blocks)):
                lists[index].append(block)
        return lists

    def trunk(self, full: Tensor) -> Tensor:
        """Compute features of pictures: (B, C, H, W) -> (B, K, 8, 8) if H = W.

        The logits of the largest of the four mixed maps are computed from these features. Here the
        features are resized to `config.map_size(8)`.
        """
        with self._trunk_norm.normalised():
            return self._last_features(full)

    def embed(self, full: Tensor) -> Tensor:
        """Project the trunk's features for the contrastive loss: (B, C, H, W) -> (B, 128)."""
        assert self.projection is not None
        with self._embedding_norm.normalised():
            embedding_BK: Tensor = self.projection(self._last_features(full))
        return embedding_BK

    def frozen_features(self, full: Tensor) -> list[Tensor]:
        """Compute the frozen network's features of pictures (B, C, H, W) in [-1, 1], C 1 or 3.

        Returns four maps (B, c, h, w) at the strides 4, 8, 16 and 32.
        """
        images = as_rgb(full, WHITE)
        size = self.config.network_input
        if images.shape[-2:] != size:
            images = functional.interpolate(images, size=size, mode="bilinear")
        features: list[Tensor] = self.features(_SCALE * images + _SHIFT)
        return features

    def mixed_features(self, full: Tensor) -> list[Tensor]:
        """Compute the four maps that the discriminators see, from pictures (B, C, H, W)."""
        mixing = self.mixing[self.config.d_features]
        mixed: list[Tensor] = mixing(self.frozen_features(full))
        return mixed

    def _last_features(self, full: Tensor) -> Tensor:
        return self._resized(self.blocks[0](self.mixed_features(full)[0]))

    def _resized(self, features: Tensor) -> Tensor:
        """Resize the features from which the first logits are computed to the size for `trunk`."""
        size = self.config.map_size(8)
        if features.shape[-2:] != size:
            features = functional.interpolate(features, size=size, mode="bilinear")
        return features


class FrozenFeatures(nn.Module):
    """The layers of a pretrained network that computes features at four strides; never trained.

    `name` is a value of `model.d_features`, and `size` the height and width of its input. Each
    BatchNorm is folded into the convolution before it. The weights are buffers that are not in the
    state dict, so that no optimiser, checkpoint or change of mode affects them. `channels` has the
    numbers of channels of the four maps.
    """

    def __init__(self, name: str, size: Size) -> None:
        super().__init__()
        network = load_efficientnet(name, size)
        fold_batch_norms(network)
        blocks = list(network._blocks)
        halving = [i for i, block in enumerate(blocks) if 2 in tuple(block._depthwise_conv.stride)]
        # The stem halves the side, and the first two of these stages together halve it once more.
        edges = [0, *halving[1:], len(blocks)]
        stages = [blocks[start:end] for start, end in itertools.pairwise(edges)]
        self.channels = [int(stage[-1]._project_conv.out_channels) for stage in stages]
        stages[0] = [network._conv_stem, nn.ReLU6(), *stages[0]]
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in stages)
        _make_buffers(self)
        self.eval()

    def train(self, mode: bool = True) -> FrozenFeatures:
        """Stay in eval mode, whatever the mode of D."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute four feature maps of pictures (B, 3, H, W) in the network's input range."""
        maps = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        return maps


class RandomMixing(nn.Module):
    """Random layers that mix the channels, and then the scales, of four maps; never trained.

    First, a 1x1 convolution mixes the channels of each map; the four maps then have 64, 128, 256
    and 512 channels, the largest map first. Then the maps are processed from the smallest to the
    largest. The result of the previous map is added to the map, another 1x1 convolution changes the
    number of channels to that of the next larger map, and the map is resized. (The paper resizes
    before the 1x1 convolution, which gives the same values at four times the cost.) The results
    have the heights and widths in `sizes`, the largest first, and the numbers of channels in
    MIXED_WIDTHS. The weights are drawn by `rng` as PyTorch initialises a convolution, and they are
    in the state dict.
    """

    def __init__(self, c_in: list[int], sizes: list[Size], rng: torch.Generator) -> None:
        super().__init__()
        self.sizes = sizes
        first = zip(c_in, _FIRST_WIDTHS, strict=True)
        self.of_channels = nn.ModuleList(FrozenConv(a, b, rng) for a, b in first)
        second = zip(_FIRST_WIDTHS, MIXED_WIDTHS, strict=True)
        self.of_scales = nn.ModuleList(FrozenConv(a, b, rng) for a, b in second)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Mix four maps (B, c, h, w), the largest first; return four maps of the sizes `sizes`."""
        mixed = [conv(x_BCHW) for conv, x_BCHW in zip(self.of_channels, maps, strict=True)]
        results: list[Tensor] = []
        for index in reversed(range(len(mixed))):
            x_BCHW = mixed[index] + results[0] if results else mixed[index]
            x_BCHW = self.of_scales[index](x_BCHW)
            x_BCHW = functional.interpolate(x_BCHW, size=self.sizes[index], mode="bilinear")
            results.insert(0, x_BCHW)
        return results


class FrozenConv(nn.Module):
    """A 1x1 convolution with random weights that are never trained.

    Weights and biases are uniform within 1 / sqrt(c_in), as PyTorch initialises a convolution.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, c_in: int, c_out: int, rng: torch.Generator) -> None:
        super().__init__()
        bound = c_in**-0.5
        for name, shape in (("weight", (c_out, c_in, 1, 1)), ("bias", (c_out,))):
            self.register_buffer(name, torch.empty(shape).uniform_(-bound, bound, generator=rng))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Mix the channels: (B, c_in, H, W) -> (B, c_out, H, W)."""
        return functional.conv2d(x_BCHW, self.weight, self.bias)


def discriminator_widths(config: ModelConfig, channels: int, size: Size) -> list[int]:
    """List the numbers of channels of a map's discriminator, from its input to its last map.

    `channels` and `size` are those of the mixed map. The width of maps of 64 px and more is `ndf`;
    it doubles whenever the side is halved.
    """
    level = level_of(size)
    later = [
        max(1, 64 // (level >> step)) * config.ndf for step in range(1, halving_count(size) + 1)
    ]
    return [channels, *later]


def _halving_blocks(
    make: LayerFactory, config: ModelConfig, channels: int, size: Size
) -> nn.Sequential:
    widths = discriminator_widths(config, channels, size)
    return nn.Sequential(
        *(nn.Sequential(*half_conv(make, a, b)) for a, b in itertools.pairwise(widths))
    )


def _last_width(config: ModelConfig, channels: int, size: Size) -> int:
    return discriminator_widths(config, channels, size)[-1]


def _make_buffers(network: nn.Module) -> None:
    """Turn all parameters into buffers that are not in the state dict."""
    for module in network.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, weight.detach(), persistent=False)
