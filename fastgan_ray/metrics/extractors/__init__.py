"""Feature networks, which turn pictures of any size into the vectors that a metric compares.

A library provides the code of each network. The weights come from `metrics.weight_files`, except
those of EfficientNet-Lite0, which are inside a Python package.
"""

import importlib
from dataclasses import replace

import torch

from fastgan_ray.data.channels import WHITE
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.extractors.extractor import Extractor

__all__ = ["EXTRACTORS", "Extractor", "load_extractor"]

# The module of each network; the module has a function with the network's name. A module is
# imported only when needed, because some imports take seconds in every trial of a search.
EXTRACTORS = {
    "inception": "inception",
    "inception_pytorch": "inception",
    "dinov2_vitb14": "transformers",
    "dinov2_vitl14": "transformers",
    "clip_vitb32": "transformers",
    "efficientnet_lite0": "efficientnet",
}


def load_extractor(
    name: str, device: torch.device, background: str = WHITE, picture_px: int | None = None
) -> Extractor:
    """Load the feature network `name` (a key of EXTRACTORS) on `device`.

    Pictures with alpha are put on the colour `background` (#rrggbb). If `picture_px` is given,
    pictures are first resized to this width and height. Raises UserError if `name` is "none", or if
    the weights are not available.
    """
    if name == "none":
        raise UserError(
            "eval.extractor is none, so nothing can be measured. Choose a feature network with "
            "--set eval.extractor=NAME, or use --embedded, which selects the network inside the "
            "package"
        )
    module = importlib.import_module(f"{__name__}.{EXTRACTORS[name]}")
    extractor: Extractor = getattr(module, name)(device)
    return replace(extractor, background=background, picture_px=picture_px)
