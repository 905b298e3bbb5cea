"""Feature networks: their weights, their training data, and which metrics a discriminator spoils.

A discriminator on the features of a pretrained network teaches the generator to match these
features. A metric on the same network is then too good, because the training optimises it. A metric
on another network that was trained on the same data is also too good, only less so: with a
discriminator on ImageNet features, FID falls further than the pictures improve (Kynkaanniemi et al.
2023, "The Role of ImageNet Classes in Frechet Inception Distance").
"""

from __future__ import annotations

from typing import NamedTuple

from fastgan_ray.config.evaluation import EvalConfig
from fastgan_ray.config.model import ModelConfig

IMAGENET = "ImageNet"


class FeatureNetwork(NamedTuple):
    """Where a network's features come from: the name of its weights, and its training data."""

    weights: str
    data: str


# The networks of eval.extractor and of model.d_features.
FEATURE_NETWORKS = {
    "inception": FeatureNetwork("Inception of 2015", IMAGENET),
    "inception_pytorch": FeatureNetwork("Inception of 2015", IMAGENET),
    "dinov2_vitb14": FeatureNetwork("DINOv2 ViT-B/14", "LVD-142M"),
    "dinov2_vitl14": FeatureNetwork("DINOv2 ViT-L/14", "LVD-142M"),
    "clip_vitb32": FeatureNetwork("CLIP ViT-B/32", "WebImageText"),
    "efficientnet_lite0": FeatureNetwork("EfficientNet-Lite0", IMAGENET),
    "efficientnet_lite1": FeatureNetwork("EfficientNet-Lite1", IMAGENET),
    "efficientnet_lite2": FeatureNetwork("EfficientNet-Lite2", IMAGENET),
}


def own_network(model: ModelConfig, measuring: EvalConfig) -> str:
    """Return why the metric may not use its feature network; "" if it may.

    It may not if a projected discriminator uses the features of the same network.
    """
    if not model.projects or measuring.extractor == "none":
        return ""
    ours = FEATURE_NETWORKS[model.d_features]
    if FEATURE_NETWORKS[measuring.extractor].weights != ours.weights:
        return ""
    others = [name for name, known in FEATURE_NETWORKS.items() if known.data != ours.data]
    return (
        f"extractor must not be {measuring.extractor}, because the discriminator uses the features "
        f"of the same network (model.d_features {model.d_features}), so the training would "
        f"optimise its own metric; set eval.extractor to {', '.join(others[:-1])} or {others[-1]}, "
        "or train with another model.d_features"
    )


def shared_data(model: ModelConfig, extractor: str) -> str:
    """Return the data on which both D's features and the metric's network were trained.

    Return "" if they were trained on different data, or if the run lacks one of them. `extractor`
    is a value of eval.extractor.
    """
    if not model.projects or extractor == "none":
        return ""
    data = FEATURE_NETWORKS[model.d_features].data
    return data if FEATURE_NETWORKS[extractor].data == data else ""
