"""Feature networks: pictures of any size to the vectors that a metric compares.

The code of each network comes from a library; its weights come from `metrics.weight_files` only.
"""

import importlib

import torch

from fastgan_ray.metrics.extractors.extractor import Extractor

__all__ = ["EXTRACTORS", "Extractor", "load_extractor"]

# The module of each network's function, which has its name. It is imported when needed only, as
# some libraries take seconds, which every trial of a search would wait.
EXTRACTORS = {
    "inception": "inception",
    "inception_pytorch": "inception",
    "dinov2_vitb14": "transformers",
    "dinov2_vitl14": "transformers",
    "clip_vitb32": "transformers",
    "efficientnet_lite0": "efficientnet",
}


def load_extractor(name: str, device: torch.device) -> Extractor:
    """The feature network `name` (a key of EXTRACTORS) on `device`.

    UserError where its weights cannot be had.
    """
    module = importlib.import_module(f"{__name__}.{EXTRACTORS[name]}")
    extractor: Extractor = getattr(module, name)(device)
    return extractor
