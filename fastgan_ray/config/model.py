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
    discriminator); stylegan2 uses ngf, ndf and g_noise. These three have no decoders, so the part
    ae of self_supervision has no effect. The same holds for a projected discriminator; the setting
    `discriminator` says which settings it uses.
    """

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        if rule := broken_rule(self):
            raise ValueError(rule)
        return self
