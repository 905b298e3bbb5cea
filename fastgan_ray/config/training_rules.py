"""Rules that combine settings of the section `train` with settings of other sections.

A rule is a function that returns an error message if the settings break the rule, else "". A
section that is not valid is passed as None; rules about this section are then not checked.
"""

from __future__ import annotations

from fastgan_ray.config.augment import TRAINING_OPS, AugmentConfig, policy_ops
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.model_rules import has_fastgan_discriminator
from fastgan_ray.config.task_fields import PREDICTED, USED_BY
from fastgan_ray.config.training import TrainConfig

Model = ModelConfig | None
Augment = AugmentConfig | None

# The fields of the extra tasks: (name, default, tasks that use it).
_FIELDS = [
    (name, field.default, tasks)
    for prefix, tasks in USED_BY.items()
    for name, field in TrainConfig.model_fields.items()
    if name.startswith(prefix)
]


def broken_rule(train: TrainConfig, model: Model, augment: Augment) -> str:
    """Return the message of the first broken rule; "" if no rule is broken."""
    rules = (
        _of_checkpointing,
        _of_freezing,
        _of_bcr,
        _of_tasks,
        _of_alignment,
        _of_mixdl,
        _of_one_picture,
    )
    return next(filter(None, (rule(train, model, augment) for rule in rules)), "")


def _of_checkpointing(train: TrainConfig, model: Model, augment: Augment) -> str:
    if model is None or not train.gradient_checkpointing:
        return ""
    if model.d_norm == "chain":
        return (
            "gradient_checkpointing must be false if model.d_norm is chain, because CHAIN would "
            "draw other random numbers when the features are computed a second time"
        )
    if model.architecture != "fastgan":
        return (
            "gradient_checkpointing can be true only if model.architecture is fastgan (got "
            f"architecture {model.architecture})"
        )
    return ""


def _of_freezing(train: TrainConfig, model: Model, augment: Augment) -> str:
    if train.freeze_d and (train.init_from is None or train.init_networks == "generator"):
        return (
            "freeze_d must be 0 unless the discriminator's weights come from init_from, because "
            f"frozen random weights would learn nothing (got freeze_d {train.freeze_d}, init_from "
            f"{train.init_from or 'null'}, init_networks {train.init_networks})"
        )
    if model and train.freeze_d > model.d_blocks:
        return (
            f"freeze_d must be at most {model.d_blocks}, the number of blocks of the "
            f"discriminator (got {train.freeze_d})"
        )
    return ""


def _of_bcr(train: TrainConfig, model: Model, augment: Augment) -> str:
    has_bcr = max(map(train.largest, ("bcr_real_weight", "bcr_fake_weight"))) > 0
    if has_bcr and augment and not _changes_pictures(augment):
        return (
            "bcr_real_weight and bcr_fake_weight must be 0 if augment.policy has no operation "
            "that changes a picture, because bCR compares two augmentations of a picture (got "
            f'policy "{augment.policy}")'
        )
    return ""


def _of_tasks(train: TrainConfig, model: Model, augment: Augment) -> str:
    """Return the message of the first broken rule about the discriminator's extra tasks; else "".

    If model.self_supervision does not contain a task, the fields of this task must have their
    defaults. The task "augself" needs an augmentation that the discriminator can predict; "insgen"
    needs an augmentation that makes a second view of a picture.
    """
    if model is None:
        return ""
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
            "model.self_supervision can be augself or ae_augself only if augment.policy has at "
            f"least one of {', '.join(PREDICTED)} and augment.probability is above 0, because the "
            "discriminator predicts the random numbers of these operations (got policy "
            f'"{augment.policy}", probability {augment.largest("probability"):g})'
        )
    if model.task == "insgen" and augment and not _changes_pictures(augment):
        return (
            "model.self_supervision can be insgen or ae_insgen only if augment.policy has an "
            "operation that changes a picture, because InsGen compares two augmentations of a "
            "real picture; fakeclr does not need such an operation (got policy "
            f'"{augment.policy}")'
        )
    return ""


def _changes_pictures(augment: AugmentConfig) -> bool:
    return bool(set(policy_ops(augment.policy)) - set(TRAINING_OPS))


def _predictable(augment: AugmentConfig) -> bool:
    return augment.largest("probability") > 0 and not PREDICTED.keys().isdisjoint(
        policy_ops(augment.policy)
    )


def _of_alignment(train: TrainConfig, model: Model, augment: Augment) -> str:
    """Return an error message if the networks do not support FreGAN's alignment; else ""."""
    if model is None:
        return ""
    if train.largest("alignment_weight") > 0 and not has_fastgan_discriminator(model):
        return (
            "alignment_weight must be 0 unless model.architecture is fastgan and "
            "model.discriminator is architecture, because FreGAN compares the feature maps of "
            f"fastgan's two networks (got alignment_weight {train.largest('alignment_weight'):g}, "
            f"architecture {model.architecture}, discriminator {model.discriminator})"
        )
    return ""


def _of_mixdl(train: TrainConfig, model: Model, augment: Augment) -> str:
    mixes = train.largest("mixdl_g_weight") > 0 or (model is not None and model.d_mixdl)
    if mixes and train.batch_size == 1:
        return (
            "batch_size must be at least 2 if mixdl_g_weight is above 0 or model.d_mixdl is "
            "true, because MixDL mixes the latents of a batch (got batch_size 1)"
        )
    return ""


def _of_one_picture(train: TrainConfig, model: Model, augment: Augment) -> str:
    if model is None or train.batch_size > 1:
        return ""
    if "contrastive" in model.self_supervision.split("_"):
        return (
            f"batch_size must be at least 2 if model.self_supervision is {model.self_supervision}, "
            "because a picture is compared with the others of its batch (got batch_size 1)"
        )
    if model.architecture == "dcgan":
        return (
            "batch_size must be at least 2 if model.architecture is dcgan, because the first "
            "BatchNorm of its generator has one value for each picture (got batch_size 1)"
        )
    return ""
