"""Build the SNGAN of Miyato et al. (ICLR 2018): residual networks, D spectrally normalised.

The networks for 32 px (CIFAR-10) and 128 px (ImageNet, without classes) are those of the tables in
the paper's appendix. The paper has no table for 64 px. Here G for 64 px is the paper's G for 128 px
without its first block, and D is the paper's D for STL-10. The blocks are those of the paper's
figure. The numbers of channels inside a block are those of Gulrajani et al. (2017). Blocks have 3x3
convolutions with biases, nearest upsampling or mean pooling, and a 1x1 convolution on the skip path
if the size or the number of channels changes. The paper does not state the initial weights. Here
they are Glorot uniform.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.models.base import AnyDiscriminator, AnyGenerator
from fastgan_ray.models.blocks import LayerFactory, dropout, full_and_small, glorot
from fastgan_ray.models.spectral import spectral_norm
from fastgan_ray.models.spectral_joint import JointSpectralNorm
from fastgan_ray.models.upsample import upsample_conv2x

# Resolution -> G's numbers of channels at 4, 8, 16, ... px, in units of ngf.
_G_MULTIPLIERS = {32: (4, 4, 4, 4), 64: (16, 8, 4, 2, 1), 128: (16, 16, 8, 4, 2, 1)}
# Resolution -> the numbers of channels of D's blocks that halve the side, and of D's blocks that
# keep it, in units of ndf.
_D_MULTIPLIERS = {
    32: ((2, 2), (2, 2)),
    64: ((1, 2, 4, 8), (16,)),
    128: ((1, 2, 4, 8, 16), (16,)),
}


class SnganGenerator(AnyGenerator):
    """SNGAN's generator.

    `stem` computes a 4x4 map from the latent. Each of `blocks` doubles the height and width of the
    map. If `model.aspect` is not square, the first map has the proportions of the aspect.
    """

    def __init__(
        self, config: ModelConfig, rng: torch.Generator, picture_channels: int = 3
    ) -> None:
        super().__init__()
        self.config = config
        self.picture_channels = picture_channels
        widths = sngan_g_channels(config)
        self._channels = widths[0]
        features = widths[0] * math.prod(config.map_size(4))
        self.stem = glorot(nn.Linear(config.nz, features, device="meta"), rng)
        self.blocks = nn.Sequential(
            *(ResidualUp(rng, *neighbours) for neighbours in itertools.pairwise(widths))
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.to_full = _conv(rng, widths[-1], picture_channels, 3)

    def forward(self, z_BZ: Tensor, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Generate full-size pictures (B, C, H, W) and small pictures (B, C, h, w).

        The latents `z_BZ` are (B, nz). The small pictures are the full-size pictures after
        resizing. The values are in [-1, 1] if `output_activation` is tanh, else they are unbounded.
        `rng` is unused, because this network has no noise.
        """
        shape = self._channels, *self.config.map_size(4)
        x_BCHW = self.blocks(self.stem(z_BZ).view(-1, *shape))
        full = self.to_full(functional.relu(self.norm(x_BCHW)))
        return full_and_small(full, self.config)

    def feature_layers(self) -> list[nn.Module]:
        """List the layers whose outputs MixDL compares: the blocks, smallest maps first."""
        return list(self.blocks)


class SnganDiscriminator(AnyDiscriminator):
    """SNGAN's discriminator.

    Residual `blocks` compute features. The features are summed over all pixels, and `head` computes
    the logit from the sums.
    """

    def __init__(
        self, config: ModelConfig, rng: torch.Generator, picture_channels: int = 3
    ) -> None:
        super().__init__()
        self.config = config
        self.picture_channels = picture_channels
        spectral = config.spectral_norm
        halving, keeping = sngan_d_channels(config)
        widths = [picture_channels, *halving, *keeping]
        self.blocks = nn.ModuleList(
            ResidualDown(rng, spectral, *neighbours, halves=index < len(halving), first=index == 0)
            for index, neighbours in enumerate(itertools.pairwise(widths))
        )
        self.head = _conv(rng, widths[-1], 1, 1, spectral)
        # Maps smaller than 8x8 are not part of the trunk; at resolution 32 none is smaller.
        depth = int(math.log2(config.resolution // 8))
        self._depth = depth if depth < len(halving) else len(self.blocks)
        self.add_heads(config, LayerFactory(rng, spectral), widths[self._depth])
        trunk = self.blocks[: self._depth]
        self._trunk_norm = JointSpectralNorm(*trunk)
        self._embedding_norm = JointSpectralNorm(*trunk, *filter(None, [self.projection]))
        self._logits_norm = JointSpectralNorm(*self.blocks, self.head)

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
        with self._logits_norm.normalised():
            full = self._keep(self._features(full))
            for block in self.blocks[self._depth :]:
                full = block(full)
            sums_BC = functional.relu(full).sum((2, 3))
            features = dropout(sums_BC, self.config.dropout, rng, self.group)
            return self.head(features[:, :, None, None]).flatten(1), {}

    def trunk(self, full: Tensor) -> Tensor:
        """Compute the features of the last block with maps of 8x8 px.

        (B, C, H, W) -> (B, K, 8, 8) if H = W.
        """
        with self._trunk_norm.normalised():
            return self._features(full)

    def embed(self, full: Tensor) -> Tensor:
        """Return the embeddings (B, 128) of pictures (B, C, H, W) for the contrastive loss."""
        assert self.projection is not None
        with self._embedding_norm.normalised():
            embedding_BK: Tensor = self.projection(self._features(full))
        return embedding_BK

    def _features(self, full: Tensor) -> Tensor:
        for block in self.blocks[: self._depth]:
            full = block(full)
        return full


class ResidualUp(nn.Module):
    """A residual block of G that doubles height and width.

    It applies BatchNorm, ReLU and a 3x3 convolution twice.
    """

    def __init__(self, rng: torch.Generator, c_in: int, c_out: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(c_in)
        self.conv1 = _conv(rng, c_in, c_out, 3)
        self.norm2 = nn.BatchNorm2d(c_out)
        self.conv2 = _conv(rng, c_out, c_out, 3)
        self.skip = _conv(rng, c_in, c_out, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Compute features: (B, c_in, H, W) -> (B, c_out, 2H, 2W)."""
        h_BCHW: Tensor = upsample_conv2x(functional.relu(self.norm1(x_BCHW)), self.conv1)
        h_BCHW = self.conv2(functional.relu(self.norm2(h_BCHW)))
        # A 1x1 convolution before the upsampling gives the same values as after it.
        skip_BCHW = functional.interpolate(self.skip(x_BCHW), scale_factor=2, mode="nearest")
        return h_BCHW + skip_BCHW


class ResidualDown(nn.Module):
    """A residual block of D, which applies ReLU and a 3x3 convolution twice.

    If `halves`, mean pooling follows, which halves height and width. If `first`, the input is a
    picture, so there is no ReLU before the first convolution. If `spectral`, the convolutions are
    spectrally normalised.
    """

    def __init__(
        self,
        rng: torch.Generator,
        spectral: bool,
        c_in: int,
        c_out: int,
        *,
        halves: bool,
        first: bool,
    ) -> None:
        super().__init__()
        self.halves, self.first = halves, first
        inner = c_out if first else c_in
        self.conv1 = _conv(rng, c_in, inner, 3, spectral)
        self.conv2 = _conv(rng, inner, c_out, 3, spectral)
        changes = halves or c_in != c_out
        self.skip = _conv(rng, c_in, c_out, 1, spectral) if changes else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Compute features (B, c_out, H, W), or (B, c_out, H/2, W/2) if `halves`."""
        h_BCHW = x_BCHW if self.first else functional.relu(x_BCHW)
        h_BCHW = self.conv2(functional.relu(self.conv1(h_BCHW)))
        if self.halves:
            # A 1x1 convolution after the mean gives the same values as before it.
            h_BCHW, x_BCHW = functional.avg_pool2d(h_BCHW, 2), functional.avg_pool2d(x_BCHW, 2)
        sum_BCHW: Tensor = h_BCHW + self.skip(x_BCHW)
        return sum_BCHW


def sngan_g_channels(config: ModelConfig) -> list[int]:
    """List the numbers of channels of G's maps of 4, 8, 16, ... px, up to the resolution."""
    return [times * config.ngf for times in _G_MULTIPLIERS[config.resolution]]


def sngan_d_channels(config: ModelConfig) -> tuple[list[int], list[int]]:
    """Return two lists with the numbers of channels of D's blocks.

    The first list is for the blocks that halve the map, and the second list for the other blocks.
    """
    halving, keeping = _D_MULTIPLIERS[config.resolution]
    return [times * config.ndf for times in halving], [times * config.ndf for times in keeping]


def _conv(
    rng: torch.Generator, c_in: int, c_out: int, kernel: int, spectral: bool = False
) -> nn.Conv2d:
    """Return a convolution with biases that keeps height and width.

    Its weights are Glorot uniform. If `spectral`, they are spectrally normalised.
    """
    layer = glorot(nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, device="meta"), rng)
    if spectral:
        seed = int(torch.randint(2**62, (), generator=rng))
        spectral_norm(layer, torch.Generator().manual_seed(seed))
    return layer
