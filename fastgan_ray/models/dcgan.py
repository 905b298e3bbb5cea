"""Build the DCGAN of Keras' adaptive-augmentation example (Beres 2021), a baseline for FastGAN.

By default, the networks are the same as in the example, except that G's output is tanh to [-1, 1]
instead of sigmoid to [0, 1]. They have batch normalisation without a scale (epsilon .001, momentum
.01), ReLU in G, LeakyReLU .2 in D, dropout .4 before the logit, and Glorot uniform weights. D
computes one logit for each picture. It has no decoders and no spectral normalisation.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.models.base import AnyDiscriminator, AnyGenerator
from fastgan_ray.models.blocks import LayerFactory, dropout, full_and_small, glorot, normal
from fastgan_ray.models.discriminator_norms import plain_norm

_Layer = TypeVar("_Layer", nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class DcganGenerator(AnyGenerator):
    """DCGAN's generator.

    `stem` computes a 4x4 map from the latent. `blocks` double the height and width of the map
    several times, and `to_full` doubles them once more. If `model.aspect` is not square, the first
    map has the proportions of the aspect.
    """

    def __init__(
        self, config: ModelConfig, rng: torch.Generator, picture_channels: int = 3
    ) -> None:
        super().__init__()
        self.config = config
        self.picture_channels = picture_channels
        width = config.dcgan_width
        features = width * math.prod(config.map_size(4))
        self.stem = _new(nn.Linear(config.nz, features, bias=False, device="meta"), config, rng)
        # Each value of the 4x4 map is normalised separately.
        self.stem_norm = _norm(features)
        self.blocks = nn.Sequential()
        for _ in range(config.dcgan_depth - 1):
            double = _doubling(config, rng, width, bias=False)
            self.blocks.extend([*double, _norm(width), nn.ReLU()])
        to_full = _doubling(config, rng, picture_channels, bias=True)
        self.to_full = to_full[0] if len(to_full) == 1 else nn.Sequential(*to_full)

    def forward(self, z_BZ: Tensor, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Generate full-size pictures (B, C, H, W) and small pictures (B, C, h, w).

        The latents `z_BZ` are (B, nz). The small pictures are the full-size pictures after
        resizing. The values are in [-1, 1] if `output_activation` is tanh, else they are unbounded.
        `rng` is unused, because this network has no noise.
        """
        x_BC11 = functional.relu(self.stem_norm(self.stem(z_BZ)[:, :, None, None]))
        shape = self.config.dcgan_width, *self.config.map_size(4)
        full = self.to_full(self.blocks(x_BC11.view(-1, *shape)))
        return full_and_small(full, self.config)

    def feature_layers(self) -> list[nn.Module]:
        """List the layers whose outputs MixDL compares: the activations, smallest maps first."""
        return [layer for layer in self.blocks if isinstance(layer, nn.ReLU)]


class DcganDiscriminator(AnyDiscriminator):
    """DCGAN's discriminator.

    `blocks` halve height and width of the picture until the map has 4x4 px, and `head` computes the
    logit. If `model.aspect` is not square, the last map has the proportions of the aspect.
    """

    def __init__(
        self, config: ModelConfig, rng: torch.Generator, picture_channels: int = 3
    ) -> None:
        super().__init__()
        self.config = config
        self.picture_channels = picture_channels
        width = config.dcgan_width
        self.blocks = nn.ModuleList()
        for index in range(config.dcgan_depth):
            c_in = width if index else picture_channels
            halve = nn.Conv2d(c_in, width, 4, 2, 1, bias=False, device="meta")
            norm = _norm(width, config.d_norm)
            activation = nn.LeakyReLU(config.d_slope)
            self.blocks.append(nn.Sequential(_new(halve, config, rng), norm, activation))
        features = width * math.prod(config.map_size(4))
        self.head = _new(nn.Linear(features, 1, device="meta"), config, rng)
        self.add_heads(config, LayerFactory(rng, spectral=False), width)

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
        x_BCHW = self.blocks[-1](self._keep(self.trunk(full)))
        features = dropout(x_BCHW.flatten(1), self.config.dropout, rng, self.group)
        return self.head(features), {}

    def trunk(self, full: Tensor) -> Tensor:
        """Compute the features before the last block: (B, C, H, W) -> (B, K, 8, 8) if H = W."""
        for block in self.blocks[:-1]:
            full = block(full)
        return full


def _doubling(config: ModelConfig, rng: torch.Generator, c_out: int, bias: bool) -> list[nn.Module]:
    """Return the layers that double the height and width of a map.

    They change the number of channels from `dcgan_width` to `c_out`. `config.dcgan_upsampling` says
    how: by a transposed convolution, or by resizing and a 3x3 convolution.
    """
    width = config.dcgan_width
    if config.dcgan_upsampling == "transposed":
        layer = nn.ConvTranspose2d(width, c_out, 4, 2, 1, bias=bias, device="meta")
        return [_new(layer, config, rng)]
    enlarge = nn.Upsample(scale_factor=2, mode=config.dcgan_upsampling)
    conv = nn.Conv2d(width, c_out, 3, padding=1, bias=bias, device="meta")
    return [enlarge, _new(conv, config, rng)]


INITIALISATIONS = {"glorot": glorot, "normal": normal}


def _new(layer: _Layer, config: ModelConfig, rng: torch.Generator) -> _Layer:
    """Move a layer from the device "meta" to the CPU, with initial weights as `dcgan_init` says."""
    return INITIALISATIONS[config.dcgan_init](layer, rng)


def _norm(channels: int, kind: str = "batch") -> nn.Module:
    if kind != "batch":
        return plain_norm(kind, channels)
    norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
    norm.register_parameter("weight", None)  # a shift, but no scale
    return norm
