"""The rules about settings of the section `train` together with those of other sections."""

from __future__ import annotations

from fastgan_ray.config.augment import TRAINING_OPS, AugmentConfig, policy_ops
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.model_rules import has_fastgan_discriminator
from fastgan_ray.config.task_fields import PREDICTED, USED_BY
from fastgan_ray.config.training import TrainConfig

# The fields of the extra tasks: (name, default, tasks that use it).
_FIELDS = [
    (name, field.default, tasks)
    for prefix, tasks in USED_BY.items()
    for name, field in TrainConfig.model_fields.items()
    if name.startswith(prefix)
]


def broken_task_rule(train: TrainConfig, model: ModelConfig, augment: AugmentConfig | None) -> str:
    """Return the first rule about the extra task that the settings break; "" if they break none.

    A field of a task that is off must have its default. AugSelf-GAN needs an augmentation that it
    can predict, InsGen one that makes a second view. `augment` is None if it is not valid itself.
    """
    task_of_model, schedules = model.task, train.schedules
    for name, default, tasks in _FIELDS:
        if task_of_model not in tasks and (name in schedules or getattr(train, name) != default):
            users = "this task uses" if len(tasks) == 1 else "these tasks use"
            both = " or ".join(f"{task}, ae_{task}" for task in tasks)
            return (
                f"{name} must be {default:g} unless model.self_supervision is {both}, because "
                f"only {users} it (got {name} {train.largest(name):g}, self_supervision "
                f"{model.self_supervision})"
            )
    if model.task == "augself" and augment and not _predictable(augment):
        return (
            "model.self_supervision can be augself or ae_augself only if augment.policy has "
            f"{', '.join(PREDICTED)} (at least one of them) and augment.probability is above 0, "
            "because the discriminator predicts the random numbers of these operations (got policy "
            f'"{augment.policy}", probability {augment.largest("probability"):g})'
        )
    if model.task == "insgen" and augment and not set(policy_ops(augment.policy)) - {*TRAINING_OPS}:
        return (
            "model.self_supervision can be insgen or ae_insgen only if augment.policy has an "
            "operation that changes a picture, because InsGen compares two augmentations of a real "
            f'picture; fakeclr compares only generated ones (got policy "{augment.policy}")'
        )
    return ""


def _predictable(augment: AugmentConfig) -> bool:
    return augment.largest("probability") > 0 and not PREDICTED.keys().isdisjoint(
        policy_ops(augment.policy)
    )


def broken_alignment_rule(train: TrainConfig, model: ModelConfig) -> str:
    """Return the rule about the alignment that the settings break; "" if they break none."""
    if train.largest("alignment_weight") > 0 and not has_fastgan_discriminator(model):
        return (
            "alignment_weight must be 0 unless model.architecture is fastgan with its own "
            "discriminator, because it compares the feature maps of fastgan's two networks (got "
            f"alignment_weight {train.largest('alignment_weight'):g}, architecture "
            f"{model.architecture}, discriminator {model.discriminator})"
        )
    return ""
