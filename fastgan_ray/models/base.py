"""Define the base classes of generators and discriminators.

All architectures have these base classes, so the trainer works with any of them.
"""

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
    """The base class of generators, which map latents (B, nz) to pictures at two sizes."""

    @abstractmethod
    def feature_layers(self) -> list[nn.Module]:
        """List the layers whose outputs (B, C, H, W) MixDL compares, smallest maps first."""


class AnyDiscriminator(nn.Module, ABC):
    """The base class of discriminators, with optional heads for extra tasks.

    The heads process the trunk's features. `projection` computes embeddings for the contrastive
    loss. `predictor` predicts the parameters of an augmentation for AugSelf-GAN.
    `mixdl_projection` computes embeddings for MixDL. A head is None if its task is off.

    The heads in `instance_heads` compute embeddings for InsGen or FakeCLR. "fake" is the head for
    generated pictures. "real" is the head for real pictures, which only InsGen has. Without InsGen
    and FakeCLR, `instance_heads` is empty.
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
        """Build the heads of the enabled extra tasks.

        `channels` is the number of channels of the trunk's features.
        """
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
        """Compute logits (B, L), and reconstructions {name of the decoder: pictures}.

        `full` (B, C, H, W) and `small` (B, C, h, w) are the same pictures at two sizes, with values
        in [-1, 1]. C is 1, 3 or 4, and (h, w) is `small_size(config)`. If `part` is None, nothing
        is reconstructed. Otherwise, each enabled decoder reconstructs its pictures. The decoder
        "part" reconstructs `crop_part(full, part)`. `rng`, on the pictures' device, draws the
        dropout masks. If it is None, there is no dropout.
        """

    @abstractmethod
    def trunk(self, full: Tensor) -> Tensor:
        """Compute the features that the heads use: (B, C, H, W) -> (B, K, 8, 8) if H = W."""

    def blocks_from_picture(self) -> list[list[nn.Module]]:
        """List D's blocks from the picture to the logits; each block is a list of its modules.

        There are `ModelConfig.d_blocks` blocks. Heads and decoders are not part of any block.
        """
        return [[block] for block in self.blocks]

    def drawing(self, rng: torch.Generator | None) -> contextlib.AbstractContextManager[None]:
        """Return a context in which CHAIN's normalisation layers draw random numbers with `rng`.

        If D has no such layers, the context has no effect.
        """
        return self.chain.drawing(rng) if self.chain is not None else contextlib.nullcontext()

    def collecting(self) -> contextlib.AbstractContextManager[list[Tensor]]:
        """Return a context that collects the penalties of CHAIN's normalisation layers in a list.

        If D has no such layers, the list stays empty.
        """
        return self.chain.collecting() if self.chain is not None else contextlib.nullcontext([])

    @contextlib.contextmanager
    def keeping_features(self) -> Iterator[list[Tensor]]:
        """Yield a list that gets the trunk's features of each forward pass in the `with` block.

        AugSelf-GAN, InsGen and FakeCLR use these features instead of computing them again. Without
        these tasks, the list stays empty.
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
        """Yield a list that gets three feature maps of D, for FreGAN's alignment.

        These are the maps of 8, 16 and 32 px, from the first forward pass in the `with` block. If
        pictures are square, a map has the shape (B, C, side, side). The maps have no gradient. The
        list stays empty if `keeps` is False, or if D is not FastGAN's discriminator.
        """
        kept: list[Tensor] = []
        self._kept_maps = kept if keeps else None
        try:
            yield kept
        finally:
            self._kept_maps = None

    def predict_augmentation(self, augmented: Tensor, plain: Tensor) -> Tensor:
        """Predict the random numbers with which pictures were augmented: (B, PREDICTED_COUNT).

        `PREDICTED` names these numbers. `augmented` and `plain` are the trunk's features
        (B, K, h, w): `augmented` after the augmentation, and `plain` before it. The head sees only
        the difference between `augmented` and `plain` (Hou et al. 2023).
        """
        assert self.predictor is not None
        with torch.autocast(augmented.device.type, enabled=False):
            predicted: Tensor = self.predictor(
                at_least_float32(augmented) - at_least_float32(plain)
            )
        return predicted

    def embed_instances(self, features: Tensor, kind: str) -> Tensor:
        """Return the embeddings (B, 128) that InsGen and FakeCLR compare.

        The Euclidean norm of each embedding is 1. `features` are the trunk's features (B, K, h, w)
        of the pictures. `kind` is "fake" for generated pictures and "real" for real pictures.
        """
        with torch.autocast(features.device.type, enabled=False):
            return F.normalize(self.instance_heads[kind](at_least_float32(features)), dim=1)

    def embed(self, full: Tensor) -> Tensor:
        """Return the embeddings (B, 128) of pictures (B, C, H, W) for the contrastive loss."""
        assert self.projection is not None
        embedding_BK: Tensor = self.projection(self.trunk(full))
        return embedding_BK

    def project(self, full: Tensor) -> Tensor:
        """Return the embeddings (B, 128) of pictures (B, C, H, W) for MixDL."""
        assert self.mixdl_projection is not None
        embedding_BK: Tensor = self.mixdl_projection(self.trunk(full))
        return embedding_BK

    def _keep(self, features: Tensor) -> Tensor:
        """Return `features`; within `keeping_features`, append `features` to the yielded list."""
        if self._kept is not None:
            self._kept.append(features)
        return features


def projection(make: LayerFactory, channels: int) -> nn.Sequential:
    """Build the two-layer head that computes the embedding for the contrastive loss.

    `channels` is the number of channels of the trunk's features.
    """
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        make.conv(channels, channels, 1),
        nn.LeakyReLU(0.2),
        make.conv(channels, EMBEDDING, 1),
        nn.Flatten(),
    )


def predictor(make: LayerFactory, channels: int) -> nn.Sequential:
    """Build the linear head that predicts the random numbers of an augmentation.

    `PREDICTED` names these numbers. The head has no spectral normalisation, because that would
    limit the range of the output.
    """
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), make.linear(channels, PREDICTED_COUNT)
    )


def instance_head(make: LayerFactory, channels: int) -> nn.Sequential:
    """Build the two-layer head that computes the embedding for InsGen and FakeCLR.

    The head has no spectral normalisation, because the embedding is scaled to norm 1 anyway.
    """
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        make.linear(channels, channels),
        nn.ReLU(),
        make.linear(channels, EMBEDDING),
    )


def linear_projection(make: LayerFactory, channels: int) -> nn.Sequential:
    """Build the linear head that computes the embedding for MixDL.

    The input of the linear layer is the mean of the features over all pixels.
    """
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(pool, make.conv(channels, EMBEDDING, 1), nn.Flatten())
