"""The settings section `model`: architecture, sizes and components of the networks."""

from __future__ import annotations

from pydantic import model_validator

from fastgan_ray.config.model_fields import ModelFields
from fastgan_ray.config.model_rules import broken_rule


class ModelConfig(ModelFields):
    """Generator and discriminator: sizes, and switches for their components.

    The architecture fastgan uses all settings except dcgan_*. The other architectures use
    resolution, aspect, nz, output_activation, d_dropout, d_mixdl and self_supervision. In addition,
    dcgan uses dcgan_*, d_norm and d_slope; sngan uses ngf, ndf and spectral_norm (only in the
    discriminator); stylegan2 uses ngf, ndf and g_noise. These three architectures have
    no decoders, so ae in self_supervision has no effect on them, nor on a projected discriminator.
    The description of the setting `discriminator` lists the settings that a projected discriminator
    uses.
    """

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        if rule := broken_rule(self):
            raise ValueError(rule)
        return self
