"""What the trainer asks of a discriminator, whatever its architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from fastgan_ray.distributed import ALONE, Group
from fastgan_ray.models.blocks import LayerFactory

# Length of the contrastive loss' embeddings (Chen et al. 2020).
_EMBEDDING = 128


class AnyDiscriminator(nn.Module, ABC):
    """Judges pictures; may reconstruct them, and project its features for the contrastive loss."""

    projection: nn.Module | None
    group: Group = ALONE

    @abstractmethod
    def forward(
        self,
        full: Tensor,
        small: Tensor,
        part: int | Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits (B, L) and reconstructions by decoder of pictures in [-1, 1].

        full (B, 3, R, R), small (B, 3, r, r) with r = `small_resolution(R)`. `part` None: no
        reconstructions; else that of "part" is of `crop_part`'s part. `rng`, on the pictures'
        device, draws what dropout leaves out; None: nothing.
        """

    @abstractmethod
    def trunk(self, full: Tensor) -> Tensor:
        """The features that the logits come from, at 8 px: (B, 3, R, R) -> (B, C, 8, 8)."""

    def embed(self, full: Tensor) -> Tensor:
        """The trunk's projection, for the contrastive loss: (B, 3, R, R) -> (B, 128)."""
        assert self.projection is not None
        embedding_BK: Tensor = self.projection(self.trunk(full))
        return embedding_BK


def projection(make: LayerFactory, channels: int) -> nn.Sequential:
    """From the trunk's features to the contrastive loss' embedding, two layers deep."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        make.conv(channels, channels, 1),
        nn.LeakyReLU(0.2),
        make.conv(channels, _EMBEDDING, 1),
        nn.Flatten(),
    )
