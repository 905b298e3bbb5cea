"""Define the interface through which the trainer uses the discriminator of any architecture."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from fastgan_ray.distributed import ALONE, Group
from fastgan_ray.models.blocks import LayerFactory
from fastgan_ray.models.discriminator_norms import ChainControl

# The length of the embeddings for the contrastive loss (Chen et al. 2020).
_EMBEDDING = 128


class AnyDiscriminator(nn.Module, ABC):
    """A discriminator, with optional decoders and a projection for the contrastive loss."""

    blocks: nn.ModuleList
    projection: nn.Module | None
    group: Group = ALONE
    # What CHAIN's layers share (see `discriminator_norms`); None: D has no such layers.
    chain: ChainControl | None
    # "name" and "sha256" of the pretrained weights that D uses without training; None: it has none.
    frozen_network: dict[str, str] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.chain = None

    @abstractmethod
    def forward(
        self,
        full: Tensor,
        small: Tensor,
        part: int | Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the logits (B, L) of pictures in [-1, 1], and each decoder's reconstruction.

        `full` is (B, C, H, W), `small` is (B, C, h, w), (h, w) = `small_size(config)`, C = 1, 3, 4.
        If `part` is None, nothing is reconstructed. Otherwise all decoders reconstruct; the decoder
        "part" reconstructs the part of the picture that `crop_part` crops for `part`. `rng`, on the
        pictures' device, draws the masks of dropout; if it is None, there is no dropout.
        """

    @abstractmethod
    def trunk(self, full: Tensor) -> Tensor:
        """Compute the features before the logits: (B, C, H, W) -> (B, K, 8, 8) if H = W."""

    def blocks_from_picture(self) -> list[list[nn.Module]]:
        """List the blocks, starting at the picture; each block is a list of its modules.

        There are `ModelConfig.d_blocks` blocks. The heads, decoders and projection belong to no
        block.
        """
        return [[block] for block in self.blocks]

    def drawing(self, rng: torch.Generator | None) -> contextlib.AbstractContextManager[None]:
        """Let CHAIN's layers draw with `rng` inside a context; without them, do nothing."""
        return self.chain.drawing(rng) if self.chain is not None else contextlib.nullcontext()

    def collecting(self) -> contextlib.AbstractContextManager[list[Tensor]]:
        """Collect the penalties of CHAIN's layers inside a context; without them, collect none."""
        return self.chain.collecting() if self.chain is not None else contextlib.nullcontext([])

    def embed(self, full: Tensor) -> Tensor:
        """Project the trunk's features for the contrastive loss: (B, C, H, W) -> (B, 128)."""
        assert self.projection is not None
        embedding_BK: Tensor = self.projection(self.trunk(full))
        return embedding_BK


def projection(make: LayerFactory, channels: int) -> nn.Sequential:
    """Build the two layers from the trunk's features to the embedding of the contrastive loss."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        make.conv(channels, channels, 1),
        nn.LeakyReLU(0.2),
        make.conv(channels, _EMBEDDING, 1),
        nn.Flatten(),
    )
