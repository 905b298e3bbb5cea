"""The fields of `TrainConfig` that compare pictures or latents in pairs: bCR, zCR and MixDL."""

from __future__ import annotations

from typing import Any

from pydantic import Field

BCR_REAL_WEIGHT: Any = Field(
    0.0,
    ge=0,
    description="weight of the balanced consistency (bCR) of real pictures: the "
    "discriminator's logits of two augmentations of the same picture must be alike (Zhao et "
    "al. 2021 used 10); 0 = off",
)
BCR_FAKE_WEIGHT: Any = Field(
    0.0,
    ge=0,
    description="weight of the balanced consistency (bCR) of generated pictures (Zhao et al. "
    "2021 used 10); 0 = off",
)
ZCR_D_WEIGHT: Any = Field(
    0.0,
    ge=0,
    description="weight of the latent consistency (zCR) in the discriminator's loss: its "
    "logits of pictures from two near latents must be alike (Zhao et al. 2021 used 5); 0 = off",
)
ZCR_G_WEIGHT: Any = Field(
    0.0,
    ge=0,
    description="weight of the latent consistency (zCR) in the generator's loss: pictures from "
    "two near latents must differ (Zhao et al. 2021 used 0.5); 0 = off",
)
ZCR_NOISE: Any = Field(
    0.05,
    gt=0,
    description="standard deviation of the noise that zCR adds to a latent to get the near latent",
)
MIXDL_G_WEIGHT: Any = Field(
    0.0,
    ge=0,
    description="weight of MixDL in the generator's loss: the similarities between the features "
    "of a mixture of latents and those of each latent must match the mixing coefficients (Kong et "
    "al. 2022 used the equivalent of 125); 0 = off",
)
MIXDL_D_WEIGHT: Any = Field(
    0.125,
    ge=0,
    description="weight of MixDL in the discriminator's loss, on projected features of "
    "generated pictures; used if model.d_mixdl is true (published: the equivalent of 0.125)",
)
MIXDL_INTERVAL: Any = Field(
    2,
    ge=1,
    description="MixDL is computed once in this number of training steps, with its weights "
    "multiplied by this number",
    json_schema_extra={"unit": "steps"},
)
