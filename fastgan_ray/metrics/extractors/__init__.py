"""Feature networks: pictures of any size to the vectors that a metric compares.

Every network comes from a library, its weights from `metrics.weights`: none is fetched elsewhere.
"""

from collections.abc import Callable

import torch

from fastgan_ray.metrics.extractors.efficientnet import efficientnet_lite0
from fastgan_ray.metrics.extractors.extractor import Extractor
from fastgan_ray.metrics.extractors.inception import inception, inception_pytorch
from fastgan_ray.metrics.extractors.transformers import clip_vitb32, dinov2_vitb14, dinov2_vitl14

__all__ = ["EXTRACTORS", "Extractor", "load_extractor"]


def load_extractor(name: str, device: torch.device) -> Extractor:
    """The feature network `name` (a key of EXTRACTORS) on `device`.

    UserError where its weights cannot be had.
    """
    return EXTRACTORS[name](device)


EXTRACTORS: dict[str, Callable[[torch.device], Extractor]] = {
    "inception": inception,
    "inception_pytorch": inception_pytorch,
    "dinov2_vitb14": dinov2_vitb14,
    "dinov2_vitl14": dinov2_vitl14,
    "clip_vitb32": clip_vitb32,
    "efficientnet_lite0": efficientnet_lite0,
}
