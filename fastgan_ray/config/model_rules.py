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
                f"{name} must list {expected} numbers of channels (1 to 16384), one for each of "
                f"the levels {first}, {2 * first}, ..., {model.resolution} (got {widths})"
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
            "discriminator can be projected only if architecture is fastgan (got discriminator "
            f"{model.discriminator}, architecture {model.architecture})"
        )
    if model.d_norm == "chain" and (model.architecture != "fastgan" or model.projects):
        return (
            "d_norm can be chain only if architecture is fastgan and discriminator is "
            f"architecture (got architecture {model.architecture}, discriminator "
            f"{model.discriminator})"
        )
    if model.projects and model.task in INSTANCE_KINDS:
        return (
            "self_supervision can be insgen, fakeclr, ae_insgen or ae_fakeclr only if "
            "discriminator is architecture, because these tasks train the discriminator's "
            "features, but a projected discriminator uses frozen features (got discriminator "
            f"projected, self_supervision {model.self_supervision})"
        )
    if model.autoencodes and model.decode_small and not model.d_small:
        return (
            "decode_small must be false if d_small is false, because decode_small uses the "
            "features of the branch that d_small adds"
        )
    return _broken_frequency_rule(model)


def has_fastgan_discriminator(model: ModelFields) -> bool:
    """Return True if the discriminator is the one of FastGAN, not a projected discriminator."""
    return model.architecture == "fastgan" and not model.projects


def _broken_frequency_rule(model: ModelFields) -> str:
    """Return the message of the first broken rule about FreGAN; "" if no rule is broken."""
    if model.g_wavelet_skips and model.architecture != "fastgan":
        return (
            "g_wavelet_skips can be true only if architecture is fastgan, because it connects "
            f"blocks of fastgan's generator (got architecture {model.architecture})"
        )
    if model.d_high_frequency and not has_fastgan_discriminator(model):
        return (
            "d_high_frequency can be true only if architecture is fastgan and discriminator is "
            "architecture, because the later blocks of fastgan's discriminator judge the high "
            f"frequencies (got architecture {model.architecture}, discriminator "
            f"{model.discriminator})"
        )
    return ""
