"""The feature networks, and rules for metrics that share a network or data with the discriminator.

A projected discriminator uses the features of a pretrained network, so it teaches the generator to
match these features. The values of a metric on the same network are then too good, because the
training optimises this metric. The values of a metric on another network with the same training
data are also too good, but less so. For example, with a discriminator on ImageNet features, FID
improves more than the pictures do (Kynkaanniemi et al. 2023, "The Role of ImageNet Classes in
Frechet Inception Distance").
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
    """A feature network: the name of its `weights`, and the name of its training `data`."""

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
    """Return an error message if the metric uses the network of a projected discriminator; else "".

    `model.d_features` names the discriminator's network, and `measuring.extractor` the metric's
    network.
    """
    if not model.projects or measuring.extractor == "none":
        return ""
    ours = FEATURE_NETWORKS[model.d_features]
    if FEATURE_NETWORKS[measuring.extractor].weights != ours.weights:
        return ""
    return (
        f"extractor must not be {measuring.extractor}, because the discriminator uses the "
        f"features of the same network (model.d_features {model.d_features}), so the training "
        f"would optimise its own metric; set eval.extractor to {_on_other_data(ours.data)}, or "
        "choose another model.d_features"
    )


def with_own_features(earlier: Iterable[str], model: ModelConfig) -> tuple[str, ...]:
    """Return the names in `earlier`, plus the feature network of the discriminator of `model`.

    Only a projected discriminator has a feature network. `earlier` names the feature networks of
    the discriminators in earlier trainings. The result has each name once.
    """
    return tuple(dict.fromkeys([*earlier, *[model.d_features] * model.projects]))


def spoilt_by_earlier(d_features: Iterable[str], model: ModelConfig, measuring: EvalConfig) -> str:
    """Return an error message if earlier trainings make the metric's values too good; else "".

    The training with `model` started from the weights of earlier trainings (train.init_from).
    `d_features` names the feature networks of the discriminators in the earlier trainings. If the
    metric uses one of these networks, this is an error. If the metric's network only has the same
    training data as one of them, this is an error, too, with one exception: if the discriminator of
    `model` also uses a network with this data, the metric's values get a dagger (`MARK`) instead.
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
            why = f"a network with the same training data ({ours.data})"
        else:
            continue
        return (
            f"extractor must not be {extractor}: an earlier training of the generator used a "
            f"discriminator on the features of {why} ({name}), so the metric's values would be "
            f"too good; set eval.extractor to {_on_other_data(theirs.data)}"
        )
    return ""


def shared_data(model: ModelConfig, extractor: str) -> str:
    """Return the name of the data on which both D's feature network and `extractor` were trained.

    Return "" if their training data differ, or if D or the metric has no feature network.
    `extractor` is the metric's feature network, a value of eval.extractor.
    """
    return shared_data_of({"model": model.model_dump(), "eval": {"extractor": extractor}})


def shared_data_of(config: Mapping[str, Any]) -> str:
    """Return the result of `shared_data` for a run with the settings `config`.

    `config` is {section: {name: value}}.
    """
    model, extractor = config.get("model", {}), config.get("eval", {}).get("extractor", "none")
    if model.get("discriminator") != "projected" or extractor == "none":
        return ""
    data = FEATURE_NETWORKS[model["d_features"]].data
    return data if FEATURE_NETWORKS[extractor].data == data else ""


def shared_data_note(data: str) -> str:
    """Return the footnote that explains the dagger (`MARK`), or "" if `data` is "".

    `data` is the result of `shared_data`.
    """
    if not data:
        return ""
    return (
        f"{MARK} The metric's network and the discriminator's feature network have the same "
        f"training data ({data}), so the metric's values are too good. Compare them only with "
        f"other values that have this mark, or measure with eval.extractor {_on_other_data(data)}."
    )


def why_not_ranked(first: str, second: str) -> str:
    """Return the reason why the metric cannot rank two trainings; "" if it can rank them.

    `first` and `second` are the results of `shared_data` for the two trainings.
    """
    if first == second:
        return ""
    return (
        f"the metric's network shares training data ({first or second}) with the feature network "
        "of only one of the two discriminators; measure both with eval.extractor "
        f"{_on_other_data(first or second)}"
    )


def mixed_kinds(extractor: str) -> str:
    """Return an error message if the metric cannot rank two kinds of discriminators; else "".

    The kinds are projected and other discriminators. The metric cannot rank trials with different
    kinds if its feature network, `extractor`, shares training data with a feature network that
    projected discriminators can use.
    """
    data = "" if extractor == "none" else FEATURE_NETWORKS[extractor].data
    if data not in {FEATURE_NETWORKS[name].data for name in D_FEATURES}:
        return ""
    return (
        f"must be the same for all trials, because eval.extractor {extractor} shares training "
        f"data ({data}) with the features of a projected discriminator, so the metric cannot rank "
        "trials with and without this discriminator; set eval.extractor to "
        f"{_on_other_data(data)}, or set model.discriminator in base"
    )


def _on_other_data(data: str) -> str:
    """Return the feature networks that were not trained on `data`, as text: "a, b or c"."""
    *names, last = (name for name, known in FEATURE_NETWORKS.items() if known.data != data)
    return f"{', '.join(names)} or {last}"
