"""The fields of `TrainConfig` for the consistency losses bCR and zCR, and for MixDL."""

from __future__ import annotations

from typing import Any

from pydantic import Field

BCR_REAL_WEIGHT: Any = Field(
    0.0,
    ge=0,
    description="weight of bCR (balanced consistency) on real pictures: the mean squared "
    "difference between the discriminator's logits of two augmentations of the same picture "
    "(Zhao et al. 2021 used 10); 0 = off",
)
BCR_FAKE_WEIGHT: Any = Field(
    0.0,
    ge=0,
    description="weight of bCR (balanced consistency) on generated pictures: the mean squared "
    "difference between the discriminator's logits of two augmentations of the same picture "
    "(Zhao et al. 2021 used 10); 0 = off",
)
ZCR_D_WEIGHT: Any = Field(
    0.0,
    ge=0,
    description="weight of zCR (latent consistency) in the discriminator's loss: the mean "
    "squared difference between the discriminator's logits of pictures from two nearby latents "
    "(Zhao et al. 2021 used 5); 0 = off",
)
ZCR_G_WEIGHT: Any = Field(
    0.0,
    ge=0,
    description="weight of zCR (latent consistency) in the generator's loss: the more the "
    "pictures from two nearby latents differ, the lower this loss (Zhao et al. 2021 used 0.5); 0 = "
    "off",
)
ZCR_NOISE: Any = Field(
    0.05,
    gt=0,
    description="standard deviation of the noise that zCR adds to a latent to get a near latent",
)
MIXDL_G_WEIGHT: Any = Field(
    0.0,
    ge=0,
    description="weight of MixDL in the generator's loss. MixDL mixes the latents of a batch "
    "with random coefficients. The larger the coefficient of a latent, the more similar the "
    "features of the mixture must be to the features of this latent (Kong et al. 2022 used the "
    "equivalent of 125). 0 = off",
)
MIXDL_D_WEIGHT: Any = Field(
    0.125,
    ge=0,
    description="weight of MixDL in the discriminator's loss, which compares linear projections "
    "of the discriminator's features of generated pictures; used only if model.d_mixdl is true "
    "(Kong et al. 2022 used the equivalent of 0.125)",
)
MIXDL_INTERVAL: Any = Field(
    2,
    ge=1,
    description="MixDL is computed once in this number of training steps; its weights are then "
    "multiplied by this number",
    json_schema_extra={"unit": "steps"},
)
