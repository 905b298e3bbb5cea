"""Compute the losses of D's extra tasks, except reconstruction.

Contrastive (Chen et al. 2020): D must recognise two augmented views of one real picture.

AugSelf-GAN (Hou et al. 2023, arXiv 2205.15677): a picture is augmented with some random numbers,
and D must predict these numbers. The prediction uses the difference between D's features of the
augmented picture and of the picture before the augmentation. For real pictures, D must predict the
numbers. For generated pictures, D must predict the numbers times -1. G learns to make pictures for
which D predicts the numbers themselves.

InsGen and FakeCLR: D learns to distinguish each picture from earlier ones (see `instances`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastgan_ray.arithmetic import at_least_float32
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.task_fields import INSTANCE_KINDS
from fastgan_ray.train import instances, losses
from fastgan_ray.train.draws import Turn
from fastgan_ray.train.state import TrainState
from fastgan_ray.train.views import Views, augmented

Terms = dict[str, tuple[float, Tensor]]


def contrastive_loss(state: TrainState, pictures: Tensor, turn: Turn, config: RunConfig) -> Tensor:
    """Compute the contrastive loss, a scalar: D must recognise two views of one real picture.

    `pictures` are real pictures (B, C, H, W) without augmentation. `turn` has the random numbers
    that augment the two views of each picture.
    """
    views = [augmented([pictures], drawn, state.ada.p)[0] for drawn in turn.views]
    first, second = at_least_float32(state.discriminator.embed(torch.cat(views))).chunk(2)
    gather = state.group.gather  # the pictures of other processes are negatives, too
    with torch.autocast(pictures.device.type, enabled=False):
        temperature = config.train.contrastive_temperature
        return losses.contrastive(gather(first), gather(second), temperature)


def d_terms(
    state: TrainState, views: Views, features: Sequence[Tensor], config: RunConfig
) -> Terms:
    """Return the terms of AugSelf-GAN, InsGen or FakeCLR in D's loss.

    Returns a dictionary of terms by name. Each term is a pair (weight, scalar). Without these
    tasks, the result is {}. `features` is a list with two entries: the trunk's features of
    `views.real` and of `views.fake_for_d`.
    """
    if config.model.task in INSTANCE_KINDS:
        of_kind = dict(zip(("real", "fake"), features, strict=True))
        return {
            f"insgen_{kind}": (
                getattr(config.train, f"insgen_d_{kind}_weight"),
                _instance_loss(state, views, of_kind[kind], kind, config),
            )
            for kind in INSTANCE_KINDS[config.model.task]
        }
    if config.model.task != "augself":
        return {}
    errors = [
        prediction_error(_predicted(state, of_augmented, plain), targets, sign)
        for of_augmented, plain, targets, sign in zip(
            features, views.plain, views.targets, (1, -1), strict=True
        )
    ]
    return {"augself": (config.train.augself_d_weight, errors[0] + errors[1])}


def g_term(
    state: TrainState, views: Views, features: Sequence[Tensor], config: RunConfig
) -> Tensor | None:
    """Return the weighted term of AugSelf-GAN, InsGen or FakeCLR in G's loss, a scalar.

    Return None if D has none of these tasks or the weight is always 0. `features` is a list with
    one entry, the trunk's features of `views.fake`.
    """
    train = config.train
    if config.model.task in INSTANCE_KINDS and train.largest("insgen_g_weight") > 0:
        return train.insgen_g_weight * _instance_loss(state, views, features[0], "fake", config)
    weight = train.augself_g_weight
    if config.model.task != "augself" or train.largest("augself_g_weight") == 0:
        return None
    predicted = _predicted(state, features[0], at_least_float32(views.outputs[0]))
    as_real, as_fake = (prediction_error(predicted, views.targets[1], sign) for sign in (1, -1))
    return weight * (as_real - as_fake)


def end_turn(state: TrainState, views: Views, config: RunConfig) -> None:
    """Update the state of InsGen or FakeCLR after all losses of a turn.

    The weights of the slow copy of D move towards D, and the keys of the turn are added to the
    queues. Without these tasks, do nothing.
    """
    if state.instances is not None:
        momentum = config.train.insgen_momentum
        instances.follow(state.instances, state.discriminator, momentum)
        instances.push(state.instances, views.keys, state.group)


def prediction_error(predicted: Tensor, targets: Tensor, sign: int) -> Tensor:
    """Compute the mean squared error of AugSelf-GAN's predictions, as a scalar.

    `predicted` (B, n) are the n numbers that D predicts for each picture. `targets` (2, B, n) has
    the true numbers and their weights (see `augment.targets`). An error is the difference between
    `predicted` and `sign` times a true number; `sign` is 1 or -1. The squared errors are averaged
    over the numbers of each operation, summed over the operations, and averaged over the pictures.
    """
    numbers, weights = targets
    error: Tensor = (weights * (predicted - sign * numbers).square()).sum(dim=1).mean()
    return error


def _instance_loss(
    state: TrainState, views: Views, features: Tensor, kind: str, config: RunConfig
) -> Tensor:
    """Compute the loss of InsGen or FakeCLR for the pictures of one `kind`, as a scalar.

    `features` are the trunk's features of these pictures.
    """
    assert state.instances is not None
    queries = state.discriminator.embed_instances(features, kind)
    penalties = None
    if config.model.task == "fakeclr" and config.train.largest("insgen_forgetting") > 0:
        penalties = config.train.insgen_forgetting * state.instances.ages
    temperature = config.train.insgen_temperature
    with torch.autocast(features.device.type, enabled=False):
        queue = state.instances.queues[kind]
        return instances.loss(queries, views.keys[kind], queue, temperature, penalties)


def _predicted(state: TrainState, features: Tensor, plain: Tensor) -> Tensor:
    """Predict the random numbers of an augmentation: (B, n).

    `features` are the trunk's features of augmented pictures. `plain` are the pictures (B, C, H, W)
    before the augmentation.
    """
    discriminator = state.discriminator
    return discriminator.predict_augmentation(features, discriminator.trunk(plain))
