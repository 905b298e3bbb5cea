"""Build the DCGAN of Keras' adaptive-augmentation example (Beres 2021), a baseline for FastGAN.

By default, the networks have the example's widths, kernels, batch normalisation without a scale
(epsilon .001, momentum .01), ReLU, LeakyReLU .2, dropout .4 before the logit and Glorot uniform
weights. Only the output differs: tanh to [-1, 1] instead of sigmoid to [0, 1]. D computes one logit
for each picture. It has no reconstruction and no spectral normalisation.
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
    """DCGAN's generator: `stem` makes a 4x4 map; `blocks` and `to_full` double its side.

    If `model.aspect` is not square, the map has another shape (`ASPECTS`).
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
        """Generate pictures from latents: (B, nz) -> full (B, C, H, W) and small (B, C, h, w).

        The small pictures are the full ones, resized. Values are in [-1, 1] with tanh, and
        unbounded without it. `rng` is unused, because this network has no noise.
        """
        x_BC11 = functional.relu(self.stem_norm(self.stem(z_BZ)[:, :, None, None]))
        shape = self.config.dcgan_width, *self.config.map_size(4)
        full = self.to_full(self.blocks(x_BC11.view(-1, *shape)))
        return full_and_small(full, self.config)

    def feature_layers(self) -> list[nn.Module]:
        """List the layers that MixDL compares: activations, those of the smallest maps first."""
        return [layer for layer in self.blocks if isinstance(layer, nn.ReLU)]


class DcganDiscriminator(AnyDiscriminator):
    """DCGAN's discriminator: `blocks` halve the side down to 4x4; `head` makes the logit."""

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
        """Compute logits (B, 1); there are no reconstructions, and `small`, `part` are unused."""
        x_BCHW = self.blocks[-1](self._keep(self.trunk(full)))
        features = dropout(x_BCHW.flatten(1), self.config.dropout, rng, self.group)
        return self.head(features), {}

    def trunk(self, full: Tensor) -> Tensor:
        """Compute the features before the last block: (B, C, H, W) -> (B, K, 8, 8) if H = W."""
        for block in self.blocks[:-1]:
            full = block(full)
        return full


def _doubling(config: ModelConfig, rng: torch.Generator, c_out: int, bias: bool) -> list[nn.Module]:
    """Return the layers that double a map's side; their input has `dcgan_width` channels."""
    width = config.dcgan_width
    if config.dcgan_upsampling == "transposed":
        layer = nn.ConvTranspose2d(width, c_out, 4, 2, 1, bias=bias, device="meta")
        return [_new(layer, config, rng)]
    enlarge = nn.Upsample(scale_factor=2, mode=config.dcgan_upsampling)
    conv = nn.Conv2d(width, c_out, 3, padding=1, bias=bias, device="meta")
    return [enlarge, _new(conv, config, rng)]


INITIALISATIONS = {"glorot": glorot, "normal": normal}


def _new(layer: _Layer, config: ModelConfig, rng: torch.Generator) -> _Layer:
    """Initialise a layer that is on "meta": weights as `dcgan_init` says, biases 0."""
    return INITIALISATIONS[config.dcgan_init](layer, rng)


def _norm(channels: int, kind: str = "batch") -> nn.Module:
    if kind != "batch":
        return plain_norm(kind, channels)
    norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
    norm.register_parameter("weight", None)  # a shift, but no scale
    return norm
