"""Define the interfaces through which the trainer uses the networks of any architecture."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastgan_ray.arithmetic import at_least_float32
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.task_fields import INSTANCE_KINDS, PREDICTED_COUNT
from fastgan_ray.distributed import ALONE, Group
from fastgan_ray.models.blocks import LayerFactory
from fastgan_ray.models.discriminator_norms import ChainControl

# The length of the embeddings for the contrastive loss (Chen et al. 2020), InsGen and MixDL.
EMBEDDING = 128


class AnyGenerator(nn.Module, ABC):
    """A generator: it makes pictures at two sizes from latents (B, nz)."""

    @abstractmethod
    def feature_layers(self) -> list[nn.Module]:
        """List the layers whose outputs (B, C, H, W) MixDL compares, those nearest to z first."""


class AnyDiscriminator(nn.Module, ABC):
    """A discriminator, with optional decoders and heads for extra tasks.

    The heads see the trunk's features: `projection` computes embeddings for the contrastive loss,
    `predictor` predicts an augmentation for AugSelf-GAN, and `mixdl_projection` computes embeddings
    for MixDL. They are None unless a task needs them. `instance_heads` computes embeddings for
    InsGen and FakeCLR, with a head for each kind of pictures, "fake" and "real"; without these
    tasks, it is empty.
    """

    blocks: nn.ModuleList
    projection: nn.Module | None
    predictor: nn.Module | None
    mixdl_projection: nn.Module | None
    instance_heads: nn.ModuleDict
    group: Group = ALONE
    # The state that CHAIN's layers share (`discriminator_norms`); None if D has no such layers.
    chain: ChainControl | None
    # "name" and "sha256" of the pretrained weights that D uses without training, or None.
    frozen_network: dict[str, str] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.chain = None
        self._kept: list[Tensor] | None = None
        self._kept_maps: list[Tensor] | None = None

    def add_heads(self, config: ModelConfig, make: LayerFactory, channels: int) -> None:
        """Build the heads of extra tasks; `channels` are those of the trunk's features."""
        self.projection = projection(make, channels) if config.task == "contrastive" else None
        self.predictor = predictor(make, channels) if config.task == "augself" else None
        self.mixdl_projection = linear_projection(make, channels) if config.d_mixdl else None
        kinds = INSTANCE_KINDS.get(config.task, ())
        self.instance_heads = nn.ModuleDict({kind: instance_head(make, channels) for kind in kinds})

    @abstractmethod
    def forward(
        self,
        full: Tensor,
        small: Tensor,
        part: int | Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the logits (B, L) of pictures in [-1, 1], and each decoder's reconstruction.

        `full` is (B, C, H, W), `small` is (B, C, h, w), (h, w) = `small_size(config)`, C is 1, 3 or
        4. If `part` is None, nothing is reconstructed. Otherwise all decoders reconstruct; the
        decoder "part" reconstructs the part of the picture that `crop_part` crops for `part`.
        `rng`, on the pictures' device, draws the masks of dropout; if it is None, there is no
        dropout.
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

    @contextlib.contextmanager
    def keeping_features(self) -> Iterator[list[Tensor]]:
        """Collect the features that `trunk` would return for each forward pass inside a context.

        AugSelf-GAN, InsGen and FakeCLR use these features instead of computing them again. Without
        these tasks, nothing is collected.
        """
        kept: list[Tensor] = []
        is_used = self.predictor is not None or len(self.instance_heads) > 0
        self._kept = kept if is_used else None
        try:
            yield kept
        finally:
            self._kept = None

    @contextlib.contextmanager
    def keeping_maps(self, keeps: bool) -> Iterator[list[Tensor]]:
        """Collect the maps of 8, 16 and 32 px of the first pictures that D judges in a context.

        The maps (B, C, side, side) have no gradient; FreGAN's alignment needs them. They are
        collected only if `keeps`, and only by FastGAN's discriminator.
        """
        kept: list[Tensor] = []
        self._kept_maps = kept if keeps else None
        try:
            yield kept
        finally:
            self._kept_maps = None

    def predict_augmentation(self, augmented: Tensor, plain: Tensor) -> Tensor:
        """Predict with which random numbers pictures were augmented: (B, PREDICTED_COUNT).

        The arguments are the trunk's features (B, K, h, w) of the augmented pictures and of the
        pictures before the augmentation. The head sees only their difference (Hou et al. 2023).
        """
        assert self.predictor is not None
        with torch.autocast(augmented.device.type, enabled=False):
            predicted: Tensor = self.predictor(
                at_least_float32(augmented) - at_least_float32(plain)
            )
        return predicted

    def embed_instances(self, features: Tensor, kind: str) -> Tensor:
        """Embed the trunk's features (B, K, h, w) for InsGen and FakeCLR: (B, 128), of length 1.

        `kind` is the kind of the pictures, "fake" or "real".
        """
        with torch.autocast(features.device.type, enabled=False):
            return F.normalize(self.instance_heads[kind](at_least_float32(features)), dim=1)

    def embed(self, full: Tensor) -> Tensor:
        """Embed pictures (B, C, H, W) for the contrastive loss; return embeddings (B, 128)."""
        assert self.projection is not None
        embedding_BK: Tensor = self.projection(self.trunk(full))
        return embedding_BK

    def project(self, full: Tensor) -> Tensor:
        """Embed pictures (B, C, H, W) for MixDL; return embeddings (B, 128)."""
        assert self.mixdl_projection is not None
        embedding_BK: Tensor = self.mixdl_projection(self.trunk(full))
        return embedding_BK

    def _keep(self, features: Tensor) -> Tensor:
        """Return the trunk's features, and keep them inside the context `keeping_features`."""
        if self._kept is not None:
            self._kept.append(features)
        return features


def projection(make: LayerFactory, channels: int) -> nn.Sequential:
    """Build the two layers from the trunk's features to the embedding of the contrastive loss."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        make.conv(channels, channels, 1),
        nn.LeakyReLU(0.2),
        make.conv(channels, EMBEDDING, 1),
        nn.Flatten(),
    )


def predictor(make: LayerFactory, channels: int) -> nn.Sequential:
    """Build the layer from the trunk's features to the numbers of an augmentation (`PREDICTED`).

    The layer has no spectral normalisation, because its output must reach the scale of the numbers.
    """
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), make.linear(channels, PREDICTED_COUNT)
    )


def instance_head(make: LayerFactory, channels: int) -> nn.Sequential:
    """Build the layers from the trunk's features to the embedding of InsGen and FakeCLR.

    They have no spectral normalisation, because the embedding is scaled to the length 1 anyway.
    """
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        make.linear(channels, channels),
        nn.ReLU(),
        make.linear(channels, EMBEDDING),
    )


def linear_projection(make: LayerFactory, channels: int) -> nn.Sequential:
    """Build the layer from the mean of the trunk's features to the embedding of MixDL."""
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(pool, make.conv(channels, EMBEDDING, 1), nn.Flatten())
