"""The rules about several settings of the section `model`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from fastgan_ray.config.aspects import ASPECTS, nearest_aspect
from fastgan_ray.config.frequency_fields import broken_frequency_rule
from fastgan_ray.config.task_fields import INSTANCE_KINDS

if TYPE_CHECKING:
    from fastgan_ray.config.model import ModelConfig

RESOLUTIONS = (32, 64, 128, 256, 512, 1024)
SNGAN_RESOLUTIONS = (32, 64, 128)


def _from_boolean(value: Any) -> Any:  # noqa: ANN401 - pydantic checks the type
    """Translate a value of d_batch_norm, the older name of d_norm."""
    return ("batch" if value else "none") if isinstance(value, bool) else value


def _power_of_two(value: int) -> int:
    if value not in RESOLUTIONS:
        raise ValueError(f"must be a power of two from 32 to 1024 (one of {RESOLUTIONS})")
    return value


def _multiple_of_the_strides(value: str) -> str:
    if value not in ASPECTS:
        raise ValueError(
            f"must be one of {', '.join(ASPECTS)} (width:height), because both sides must be "
            f"multiples of resolution / 4{nearest_aspect(value)}"
        )
    return value


Resolution = Annotated[int, AfterValidator(_power_of_two)]
Aspect = Annotated[str, AfterValidator(_multiple_of_the_strides)]
DNorm = Annotated[
    Literal["batch", "instance", "group", "none", "chain"], BeforeValidator(_from_boolean)
]

SelfSupervision = Literal[
    "ae",
    "none",
    "contrastive",
    "ae_contrastive",
    "augself",
    "ae_augself",
    "insgen",
    "ae_insgen",
    "fakeclr",
    "ae_fakeclr",
]


def broken_rule(model: ModelConfig) -> str:
    """Return the first rule that the settings break together; "" if they break none."""
    for name, first in (("g_channels", 4), ("d_channels", 8)):
        widths = getattr(model, name)
        if widths is None:
            continue
        expected = int(math.log2(model.resolution // first)) + 1
        if len(widths) != expected or any(not 1 <= width <= 16384 for width in widths):
            return (
                f"{name} must list {expected} numbers of channels (1 to 16384), one for each "
                f"of {first}, {2 * first}, ..., {model.resolution} (got {widths})"
            )
    if model.architecture == "dcgan" and model.resolution != 4 * 2**model.dcgan_depth:
        return (
            f"with architecture dcgan and dcgan_depth {model.dcgan_depth}, resolution must be "
            f"4 * 2^dcgan_depth = {4 * 2**model.dcgan_depth} (got {model.resolution})"
        )
    if model.architecture == "sngan" and model.resolution not in SNGAN_RESOLUTIONS:
        return (
            "with architecture sngan, resolution must be one of "
            f"{SNGAN_RESOLUTIONS} (got {model.resolution})"
        )
    if model.projects and model.architecture != "fastgan":
        return (
            "discriminator must be architecture unless architecture is fastgan (got "
            f"discriminator {model.discriminator}, architecture {model.architecture})"
        )
    if model.d_norm == "chain" and (model.architecture != "fastgan" or model.projects):
        return (
            "d_norm can be chain only with architecture fastgan and its own discriminator (got "
            f"architecture {model.architecture}, discriminator {model.discriminator})"
        )
    if model.projects and model.task in INSTANCE_KINDS:
        return (
            "self_supervision can be insgen or fakeclr, with or without ae_, only if discriminator "
            "is architecture, because the features of a pretrained network are not trained to tell "
            "pictures apart (got discriminator projected, self_supervision "
            f"{model.self_supervision})"
        )
    if model.autoencodes and model.decode_small and not model.d_small:
        return (
            "decode_small must be false if d_small is false, because this decoder "
            "needs the second branch"
        )
    return broken_frequency_rule(model)
