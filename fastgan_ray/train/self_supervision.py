"""Compute the losses of D's extra tasks besides reconstruction.

Contrastive (Chen et al. 2020): D must recognise two augmented views of one real picture.

AugSelf-GAN (Hou et al. 2023, arXiv 2205.15677): D predicts with which random numbers a picture was
augmented, from the difference of its features of the picture with and without the augmentation. The
targets are these numbers for real pictures, and the numbers with a minus sign for generated ones. G
learns to make pictures whose augmentation D predicts as it does for real pictures.

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
    """Compute the contrastive loss: D must recognise two augmented views of one real picture.

    `pictures` are real pictures (B, C, H, W) without augmentation.
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
    """Return {name: (weight, term)} of AugSelf-GAN, InsGen or FakeCLR in D's loss; {} if all off.

    `features` are the trunk's features of `views.real` and of `views.fake_for_d`.
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
    """Return the weighted term of AugSelf-GAN, InsGen or FakeCLR in G's loss; None if all are off.

    `features` has one entry, the trunk's features of `views.fake`.
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
    """Update the state of InsGen or FakeCLR after all losses of a turn; without them, do nothing.

    The slow copy of D follows D, and the turn's keys enter the queues.
    """
    if state.instances is not None:
        momentum = config.train.insgen_momentum
        instances.follow(state.instances, state.discriminator, momentum)
        instances.push(state.instances, views.keys, state.group)


def prediction_error(predicted: Tensor, targets: Tensor, sign: int) -> Tensor:
    """Compute the mean squared error of predicted random numbers of an augmentation, as a scalar.

    The squared errors are averaged over the numbers of each operation, summed over the operations,
    and averaged over the pictures. `predicted` is (B, n). `targets` (2, B, n) has the numbers and
    their weights (see `augment.targets`); `sign` is 1 if the targets are the numbers, -1 if they
    are minus the numbers.
    """
    numbers, weights = targets
    error: Tensor = (weights * (predicted - sign * numbers).square()).sum(dim=1).mean()
    return error


def _instance_loss(
    state: TrainState, views: Views, features: Tensor, kind: str, config: RunConfig
) -> Tensor:
    """Compute the loss of distinguishing pictures of a `kind` from those in the queue, a scalar."""
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
    """Predict an augmentation from the trunk's `features`; `plain` are pictures without it."""
    discriminator = state.discriminator
    return discriminator.predict_augmentation(features, discriminator.trunk(plain))
