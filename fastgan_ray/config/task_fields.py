"""The fields of `ModelConfig` and `TrainConfig` for the discriminator's extra tasks."""

from __future__ import annotations

from typing import Any

from pydantic import Field

SELF_SUPERVISION: Any = Field(
    "ae",
    description="extra task of the discriminator: ae = reconstruct pictures with the decoders "
    "(published); contrastive = recognise that two augmented views show the same picture; "
    "augself = predict how a picture was augmented (Hou et al. 2023); insgen = distinguish each "
    "picture, real or generated, from earlier pictures (Yang et al. 2021); fakeclr = distinguish "
    "each generated picture from earlier generated pictures (Li et al. 2022); ae_contrastive, "
    "ae_augself, ae_insgen and ae_fakeclr = ae and the other task together; none = no extra "
    "task. Without ae, there are no decoders",
)
CONTRASTIVE_WEIGHT: Any = Field(
    1.0, ge=0, description="weight of the contrastive loss (see model.self_supervision)"
)
CONTRASTIVE_TEMPERATURE: Any = Field(
    0.1,
    gt=0,
    le=100,
    description="temperature of the contrastive loss: the cosine similarities are divided by "
    "this number",
)
AUGSELF_D_WEIGHT: Any = Field(
    1.0,
    ge=0,
    description="weight of AugSelf-GAN's loss of the discriminator, which must predict how each "
    "picture was augmented (Hou et al. 2023 used 1, but 0.1 for pictures of cats)",
)
AUGSELF_G_WEIGHT: Any = Field(
    1.0,
    ge=0,
    description="weight of AugSelf-GAN's loss of the generator. This loss is low if the "
    "discriminator predicts the augmentations of generated pictures just as it predicts the "
    "augmentations of real pictures (Hou et al. 2023 used 1 with 100 pictures, 0.1 for pictures "
    "of cats and 0.2 with thousands of pictures). 0 = off",
)

INSGEN_D_FAKE_WEIGHT: Any = Field(
    1.0,
    ge=0,
    description="weight of the loss that trains the discriminator of InsGen or FakeCLR to "
    "distinguish a generated picture from earlier generated pictures (published: 1)",
)
INSGEN_D_REAL_WEIGHT: Any = Field(
    1.0,
    ge=0,
    description="weight of the loss that trains InsGen's discriminator to distinguish a real "
    "picture from earlier real pictures (published: 1)",
)
INSGEN_G_WEIGHT: Any = Field(
    0.1,
    ge=0,
    description="weight of the loss that trains the generator of InsGen or FakeCLR to make "
    "pictures that the discriminator can distinguish from earlier pictures (published: 0.1); 0 = "
    "off",
)
INSGEN_TEMPERATURE: Any = Field(
    0.2,
    gt=0,
    le=100,
    description="temperature of the losses of InsGen and FakeCLR: the cosine similarities are "
    "divided by this number",
)
INSGEN_MOMENTUM: Any = Field(
    0.999,
    ge=0,
    lt=1,
    description="decay, in each discriminator step, of the moving average of the discriminator's "
    "weights. InsGen and FakeCLR compute the features of earlier pictures with this averaged "
    "discriminator (momentum encoder)",
    json_schema_extra={"unit": "fraction"},
)
INSGEN_NOISE: Any = Field(
    0.15,
    gt=0,
    description="standard deviation of the noise that InsGen and FakeCLR add to a latent to get "
    "the second view of a generated picture",
)
INSGEN_QUEUE: Any = Field(
    0.05,
    gt=0,
    le=1,
    description="number of earlier pictures from which InsGen and FakeCLR distinguish a picture, "
    "as a fraction of the number of training pictures. The number is rounded up to whole "
    "batches; it is at least four batches",
    json_schema_extra={"unit": "fraction of the training pictures"},
)
INSGEN_FORGETTING: Any = Field(
    1.0,
    ge=0,
    description="how fast FakeCLR forgets earlier pictures: the weight of the oldest picture is "
    "exp(-insgen_forgetting) times the weight of the newest picture; 0 = all earlier pictures "
    "have the same weight",
)

# The tasks that tell pictures apart -> the kinds of pictures that each of them compares.
INSTANCE_KINDS = {"insgen": ("fake", "real"), "fakeclr": ("fake",)}
# The operations whose random numbers a discriminator can predict -> these numbers.
PREDICTED = {
    "color": ("brightness", "saturation", "contrast"),
    "translation": ("down", "right"),
    "cutout": ("down", "right"),
}
PREDICTED_COUNT = sum(map(len, PREDICTED.values()))
# The prefix of the fields of a task -> the tasks that use them.
USED_BY = {
    "augself_": ("augself",),
    "insgen_": tuple(INSTANCE_KINDS),
    "insgen_d_real_": ("insgen",),
    "insgen_forgetting": ("fakeclr",),
}
