"""ModelConfig, the section `model`; its fields are in `model_fields`."""

from __future__ import annotations

from pydantic import model_validator

from fastgan_ray.config.model_fields import ModelFields
from fastgan_ray.config.model_rules import broken_rule


class ModelConfig(ModelFields):
    """The sizes of generator and discriminator, and switches for their components.

    All architectures use resolution, aspect, nz, output_activation, d_dropout, d_mixdl and
    self_supervision. In addition, they use these settings:
    - fastgan: all other settings except dcgan_*.
    - dcgan: dcgan_*, d_norm and d_slope.
    - sngan: ngf, ndf and spectral_norm (only in the discriminator).
    - stylegan2: ngf, ndf and g_noise.

    Only fastgan's own discriminator has decoders. With any other discriminator, ae in
    self_supervision has no effect. The description of the setting `discriminator` lists the
    settings that a projected discriminator uses.
    """

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        if rule := broken_rule(self):
            raise ValueError(rule)
        return self
