"""Feature networks: their weights, their training data, and which metrics a discriminator biases.

A discriminator on the features of a pretrained network teaches the generator to match these
features. The values of a metric on the same network are then too good, because the training
optimises this metric. If the metric uses another network that was trained on the same data, its
values are also too good, but less so: with a discriminator on ImageNet features, FID improves more
than the pictures do (Kynkaanniemi et al. 2023, "The Role of ImageNet Classes in Frechet Inception
Distance").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fastgan_ray.config.evaluation import EvalConfig
from fastgan_ray.config.model import ModelConfig

IMAGENET = "ImageNet"
# A dagger, written after a value if the metric shares training data with D's features.
MARK = "\u2020"


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
D_FEATURES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


def own_network(model: ModelConfig, measuring: EvalConfig) -> str:
    """Return why the metric must not use its feature network; "" if the metric may use it.

    The metric must not use the network whose features a projected discriminator uses.
    """
    if not model.projects or measuring.extractor == "none":
        return ""
    ours = FEATURE_NETWORKS[model.d_features]
    if FEATURE_NETWORKS[measuring.extractor].weights != ours.weights:
        return ""
    return (
        f"extractor must not be {measuring.extractor}, because the discriminator uses the features "
        f"of the same network (model.d_features {model.d_features}), so the training would "
        f"optimise its own metric; set eval.extractor to {_on_other_data(ours.data)}, or train "
        "with another model.d_features"
    )


def with_own_features(earlier: Iterable[str], model: ModelConfig) -> tuple[str, ...]:
    """Return the names in `earlier`, and `d_features` of a model with a projected discriminator.

    `earlier` has the names of the feature networks of discriminators in earlier trainings. Each
    name is returned once.
    """
    return tuple(dict.fromkeys([*earlier, *[model.d_features] * model.projects]))


def spoilt_by_earlier(d_features: Iterable[str], model: ModelConfig, measuring: EvalConfig) -> str:
    """Return why the metric must not measure a generator that was trained before; else "".

    The training with `model` started from the weights of earlier trainings (train.init_from).
    `d_features` lists the feature networks of the discriminators in these trainings. The metric
    must not use any of these networks. It may use another network of the same training data only if
    the discriminator of `model` also uses features of this data, because only then are the metric's
    values marked (see MARK).
    """
    extractor = measuring.extractor
    if extractor == "none":
        return ""
    ours, marked = FEATURE_NETWORKS[extractor], shared_data(model, extractor)
    for name in d_features:
        theirs = FEATURE_NETWORKS[name]
        if ours.weights == theirs.weights:
            why = "the same network"
        elif ours.data == theirs.data and not marked:
            why = f"a network of the same training data ({ours.data})"
        else:
            continue
        return (
            f"extractor must not be {extractor}, because the generator was trained before against "
            f"a discriminator on the features of {why} ({name}), so its values would be too good; "
            f"set eval.extractor to {_on_other_data(theirs.data)}"
        )
    return ""


def shared_data(model: ModelConfig, extractor: str) -> str:
    """Return the data on which both D's features and the metric's network were trained.

    Return "" if they were trained on different data, or if the run lacks one of them. `extractor`
    is a value of eval.extractor.
    """
    return shared_data_of({"model": model.model_dump(), "eval": {"extractor": extractor}})


def shared_data_of(config: Mapping[str, Any]) -> str:
    """Return the same as `shared_data`, for a configuration given as nested mappings."""
    model, extractor = config.get("model", {}), config.get("eval", {}).get("extractor", "none")
    if model.get("discriminator") != "projected" or extractor == "none":
        return ""
    data = FEATURE_NETWORKS[model["d_features"]].data
    return data if FEATURE_NETWORKS[extractor].data == data else ""


def shared_data_note(data: str) -> str:
    """Return a sentence about values with the MARK.

    `data` is the result of `shared_data`; if it is "", return "".
    """
    if not data:
        return ""
    return (
        f"{MARK} The metric shares training data ({data}) with the discriminator's features, so "
        f"its values are too good: compare them only with other values that have this mark, or "
        f"measure with eval.extractor {_on_other_data(data)}."
    )


def why_not_ranked(first: str, second: str) -> str:
    """Return why two trainings cannot be ranked together; "" if they can.

    `first` and `second` are the results of `shared_data` for the two trainings.
    """
    if first == second:
        return ""
    return (
        f"the metric shares training data ({first or second}) with the features of only one of the "
        f"two discriminators; measure both with eval.extractor {_on_other_data(first or second)}"
    )


def mixed_kinds(extractor: str) -> str:
    """Return why a search must not mix projected and other discriminators; "" if it may.

    `extractor` is a value of eval.extractor.
    """
    data = "" if extractor == "none" else FEATURE_NETWORKS[extractor].data
    if data not in {FEATURE_NETWORKS[name].data for name in D_FEATURES}:
        return ""
    return (
        f"must be the same for all trials, because eval.extractor {extractor} shares training data "
        f"({data}) with the features of a projected discriminator, so trials with and without it "
        f"cannot be ranked together; set eval.extractor to {_on_other_data(data)}, or set "
        "model.discriminator in base"
    )


def _on_other_data(data: str) -> str:
    """List the networks of eval.extractor that were trained on other data, as text."""
    *names, last = (name for name, known in FEATURE_NETWORKS.items() if known.data != data)
    return f"{', '.join(names)} or {last}"
