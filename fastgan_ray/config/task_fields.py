"""The fields of `TrainConfig` for the discriminator's extra tasks, and the rules about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from fastgan_ray.config.augment import policy_ops

if TYPE_CHECKING:
    from fastgan_ray.config.augment import AugmentConfig
    from fastgan_ray.config.model import ModelConfig
    from fastgan_ray.config.training import TrainConfig

CONTRASTIVE_WEIGHT: Any = Field(
    1.0, ge=0, description="weight of the contrastive loss (see model.self_supervision)"
)
CONTRASTIVE_TEMPERATURE: Any = Field(
    0.1,
    gt=0,
    le=100,
    description="temperature: the contrastive loss divides its cosine similarities by this number",
)
AUGSELF_D_WEIGHT: Any = Field(
    1.0,
    ge=0,
    description="weight of AugSelf-GAN's loss of the discriminator, which predicts how each "
    "picture was augmented (Hou et al. 2023 used 1, and 0.1 for the pictures of cats)",
)
AUGSELF_G_WEIGHT: Any = Field(
    1.0,
    ge=0,
    description="weight of AugSelf-GAN's loss of the generator, whose pictures must be predicted "
    "as real ones are (Hou et al. 2023 used 1 with 100 pictures, 0.1 for the pictures of cats and "
    "0.2 with thousands of pictures); 0 = off",
)

# The operations whose random numbers a discriminator can predict -> these numbers.
PREDICTED = {
    "color": ("brightness", "saturation", "contrast"),
    "translation": ("down", "right"),
    "cutout": ("down", "right"),
}
PREDICTED_COUNT = sum(map(len, PREDICTED.values()))
# The prefix of the fields of a task -> the tasks that use them.
USED_BY = {"augself_": ("augself",)}


def broken_task_rule(train: TrainConfig, model: ModelConfig, augment: AugmentConfig | None) -> str:
    """Return the first rule about the extra task that the settings break; "" if they break none.

    A field of a task that is off must have its default. AugSelf-GAN needs an augmentation that it
    can predict. `augment` is None if it is not valid itself.
    """
    for prefix, tasks in USED_BY.items():
        if model.task in tasks:
            continue
        for name, field in type(train).model_fields.items():
            if name.startswith(prefix) and (
                train.changes(name) or getattr(train, name) != field.default
            ):
                both = " or ".join(f"{task}, ae_{task}" for task in tasks)
                return (
                    f"{name} must be {field.default:g} unless model.self_supervision is {both}, "
                    f"because only this task uses it (got {name} {train.largest(name):g}, "
                    f"self_supervision {model.self_supervision})"
                )
    if model.task == "augself" and augment and not _predictable(augment):
        return (
            "model.self_supervision can be augself or ae_augself only if augment.policy has "
            f"{', '.join(PREDICTED)} (at least one of them) and augment.probability is above 0, "
            "because the discriminator predicts the random numbers of these operations (got policy "
            f'"{augment.policy}", probability {augment.largest("probability"):g})'
        )
    return ""


def _predictable(augment: AugmentConfig) -> bool:
    return augment.largest("probability") > 0 and not PREDICTED.keys().isdisjoint(
        policy_ops(augment.policy)
    )
