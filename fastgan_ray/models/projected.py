"""Build a projected discriminator: small discriminators on the features of a frozen network.

Source: Sauer et al., "Projected GANs Converge Faster" (NeurIPS 2021). A pretrained network, which
is not trained further, computes feature maps of a picture at four strides. Random layers, which are
never trained, mix the channels of each map, and then mix each map with the smaller maps. A small
discriminator for each of the four mixed maps computes logits. The loss is the mean over all logits.
The gradient for the generator passes through the frozen layers.
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
    """A projected discriminator.

    `features` is the pretrained network, and `mixing` has the random layers. Both are frozen.
    `blocks` and `heads` have an entry for each of the four mixed maps. An entry of `blocks` has the
    layers that halve the map several times. An entry of `heads` is the layer that computes the
    logits. Only the blocks and the heads (also the heads of extra tasks) are trained. The weights
    of `features` are not in the state dict. `frozen_network` has the name of the pretrained network
    and the sha256 of its weights.
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
        """Compute the logits (B, `config.logits`) of pictures `full` (B, C, H, W) in [-1, 1].

        The logits of the largest of the four maps come first. The second result, the
        reconstructions, is empty. `small` and `part` are unused. `rng`, on the pictures' device,
        draws the dropout masks. If it is None, there is no dropout.
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
        """List D's blocks from the picture to the logits; each block is a list of its modules.

        The last block has the last halving of each small discriminator. The block before it has the
        second last halvings, and so on. So all maps in a block have about the same size.
        """
        count = self.config.d_blocks
        lists: list[list[nn.Module]] = [[] for _ in range(count)]
        for blocks in self.blocks:
            assert isinstance(blocks, nn.Sequential)
            for index, block in enumerate(blocks, start=count - len(blocks)):
                lists[index].append(block)
        return lists

    def trunk(self, full: Tensor) -> Tensor:
        """Compute features of pictures: (B, C, H, W) -> (B, K, 8, 8) if H = W.

        These are the last features of the first small discriminator, which sees the largest mixed
        map. They are resized to `config.map_size(8)`.
        """
        with self._trunk_norm.normalised():
            return self._last_features(full)

    def embed(self, full: Tensor) -> Tensor:
        """Return the embeddings (B, 128) of pictures (B, C, H, W) for the contrastive loss."""
        assert self.projection is not None
        with self._embedding_norm.normalised():
            embedding_BK: Tensor = self.projection(self._last_features(full))
        return embedding_BK

    def frozen_features(self, full: Tensor) -> list[Tensor]:
        """Compute the pretrained network's features of pictures (B, C, H, W) in [-1, 1].

        C is 1 or 3. Returns four maps (B, c, h, w), at the strides 4, 8, 16 and 32.
        """
        images = as_rgb(full, WHITE)
        size = self.config.network_input
        if images.shape[-2:] != size:
            images = functional.interpolate(images, size=size, mode="bilinear")
        features: list[Tensor] = self.features(_SCALE * images + _SHIFT)
        return features

    def mixed_features(self, full: Tensor) -> list[Tensor]:
        """Compute the four mixed maps of pictures `full`, as inputs of the small discriminators."""
        mixing = self.mixing[self.config.d_features]
        mixed: list[Tensor] = mixing(self.frozen_features(full))
        return mixed

    def _last_features(self, full: Tensor) -> Tensor:
        return self._resized(self.blocks[0](self.mixed_features(full)[0]))

    def _resized(self, features: Tensor) -> Tensor:
        """Resize features bilinearly to `config.map_size(8)`."""
        size = self.config.map_size(8)
        if features.shape[-2:] != size:
            features = functional.interpolate(features, size=size, mode="bilinear")
        return features


class FrozenFeatures(nn.Module):
    """A pretrained network that computes feature maps at four strides and is never trained.

    `name` is a value of `model.d_features`, and `size` is the height and width of its input. Each
    BatchNorm is folded into the convolution before it. The weights are buffers that are not in the
    state dict, so optimisers and checkpoints do not contain them. `channels` lists the numbers of
    channels of the four maps, the largest map first.
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
        """Stay in eval mode; `mode` is ignored."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute four feature maps, the largest first, of pictures (B, 3, H, W).

        The pixels have the values (v - 127) / 128, where v is from 0 to 255.
        """
        maps = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        return maps


class RandomMixing(nn.Module):
    """Random layers, never trained, that mix the channels of four maps, and then the maps.

    First, a 1x1 convolution mixes the channels of each map. The four maps then have 64, 128, 256
    and 512 channels, the largest map first.

    Then the maps are mixed one by one, the smallest first. For each map:

    1. The result of the previous map is added (not to the smallest map).
    2. A 1x1 convolution of its own gives the map the number of channels in MIXED_WIDTHS.
    3. The map is resized to its entry in `sizes`, which is the size of the next larger map.

    (The paper does step 3 before step 2, with the same values at four times the cost.)

    `c_in` and `sizes` begin with the largest map. `rng` draws the weights, which are in the state
    dict.
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

    Weights and biases are uniform between -1 / sqrt(c_in) and 1 / sqrt(c_in), as in PyTorch.
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
    """List the numbers of channels in a small discriminator, from its input to its last map.

    The input is a mixed map with `channels` channels and the height and width `size`. The other
    maps have `ndf` channels at 64 px and more, 2 x `ndf` at 32 px, 4 x `ndf` at 16 px, and so on.
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
