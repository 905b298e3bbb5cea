"""The rules about several settings of the section `model`."""

from __future__ import annotations

import math

from fastgan_ray.config.model_fields import ModelFields
from fastgan_ray.config.task_fields import INSTANCE_KINDS

SNGAN_RESOLUTIONS = (32, 64, 128)


def broken_rule(model: ModelFields) -> str:
    """Return the message of the first broken rule; "" if no rule is broken."""
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
    return _broken_frequency_rule(model)


def has_fastgan_discriminator(model: ModelFields) -> bool:
    """Return True if the discriminator is that of FastGAN."""
    return model.architecture == "fastgan" and not model.projects


def _broken_frequency_rule(model: ModelFields) -> str:
    """Return the message of the first broken rule about the fields for FreGAN; else ""."""
    if model.g_wavelet_skips and model.architecture != "fastgan":
        return (
            "g_wavelet_skips must be false unless architecture is fastgan, because it connects "
            f"the blocks of fastgan's generator (got architecture {model.architecture})"
        )
    if model.d_high_frequency and not has_fastgan_discriminator(model):
        return (
            "d_high_frequency can be true only with architecture fastgan and its own "
            "discriminator, whose later blocks judge the high frequencies (got architecture "
            f"{model.architecture}, discriminator {model.discriminator})"
        )
    return ""
