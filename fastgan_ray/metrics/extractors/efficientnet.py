"""Load the feature network EfficientNet-Lite0; its weights are inside a Python package."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from fastgan_ray.metrics.extractors.extractor import Extractor
from fastgan_ray.pretrained.efficientnet import (
    fold_batch_norms,
    load_efficientnet,
    weights_sha256,
)


def efficientnet_lite0(device: torch.device) -> Extractor:
    """Load EfficientNet-Lite0: input 224 px, pooled features (1,280), logits of 1,000 classes."""
    network = load_efficientnet("efficientnet_lite0")
    fold_batch_norms(network)
    classifier = copy.deepcopy(network._fc)  # on the CPU, like the features
    network.to(device).to(memory_format=torch.channels_last)

    def features(images: Tensor) -> Tensor:
        scaled = (images - 127) / 128
        maps: Tensor = network.extract_features(
            scaled.contiguous(memory_format=torch.channels_last)
        )
        return maps.mean(dim=(2, 3))

    sha256 = weights_sha256("efficientnet_lite0")
    return Extractor("efficientnet_lite0", sha256, 224, features, device, classifier)
