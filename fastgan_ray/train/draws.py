"""Draw a training step's random numbers before the step; compute how far the EMA moves in it.

The numbers are drawn on the CPU by named random number generators (see `rng`), so they are the same
for every device. With several processes, each process draws for the whole batch and uses the rows
of its own samples. The step needs only the state, the pictures and these tensors, whose shapes
never change. So the step does not wait for the device and does not copy data to it. Noise and
dropout masks are as large as feature maps. Therefore they are drawn on the device, by generators
that are seeded for each step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from fastgan_ray.augment import pipeline
from fastgan_ray.augment.geometry import wide
from fastgan_ray.augment.pipeline import Draw
from fastgan_ray.augment.targets import targets_of
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.task_fields import INSTANCE_KINDS
from fastgan_ray.train import mixdl
from fastgan_ray.train.losses import LOSSES
from fastgan_ray.train.mixdl import Mixtures
from fastgan_ray.train.schedules import config_at, numbers_of
from fastgan_ray.train.state import TrainState

CENTRE = 4  # the number of the middle part in `crop_part`; 0..3 are the quadrants
_ALIGNMENT = 16  # each tensor starts at a multiple of this many bytes
_Tree = TypeVar("_Tree")


class Turn(NamedTuple):
    """The random numbers of one turn, in which D trains once on one batch.

    A training step has `train.d_steps` turns. B is the number of samples that this process has in a
    batch.
    """

    indices: Tensor
    """(B,) int64: indices of the real pictures."""
    mirrored: Tensor
    """(B,) bool: which of these pictures are flipped."""
    latents: Tensor
    """(B, nz): the latents from which G generates the pictures."""
    labels: Tensor
    """(2, B, L): labels for the logits of real and of generated pictures."""
    part: Tensor
    """Scalar, int64: the quadrant that the decoder "part" reconstructs (see `crop_part`)."""
    shares: Tensor
    """(B,): for the gradient penalty, the share of each real picture in a mixture with a generated
    one. Empty if the loss has no such penalty."""
    fake: Draw
    """Numbers that augment the generated pictures."""
    real: Draw
    """Numbers that augment the real pictures."""
    views: tuple[Draw, ...]
    """Numbers that augment the two views of the contrastive loss; empty without this loss."""
    second_real: Draw
    """Numbers that augment the real pictures once more, for bCR (`consistency`); {} without bCR."""
    second_fake: Draw
    """Numbers that augment the generated pictures once more, for bCR; {} without bCR."""
    near_latents: tuple[Tensor, ...]
    """For zCR, one tensor (B, nz): each latent is near one of `latents`. Empty without zCR."""
    targets: tuple[Tensor, ...]
    """For AugSelf-GAN, what D must predict of `real` and of `fake` (see `augment.targets`): two
    tensors (2, B, n). Empty without AugSelf-GAN."""
    mixtures: Mixtures
    """For MixDL, this process's rows of the result of `mixdl.draw`; {} without MixDL."""
    key_latents: tuple[Tensor, ...]
    """For InsGen and FakeCLR, one tensor (B, nz): `latents` with noise. Empty without them."""
    key_draws: dict[str, Draw]
    """For InsGen and FakeCLR, the augmentations of the second views, by kind of pictures (see
    `instances`); {} without them."""


class Draws(NamedTuple):
    """The random numbers of one training step."""

    turns: tuple[Turn, ...]
    ema_share: Tensor
    """Scalar: the weight average moves towards G by this fraction of the difference."""
    numbers: dict[str, dict[str, Tensor]]
    """Scalars: the values of scheduled settings at this step, by section and name."""


def draw_step(state: TrainState, config: RunConfig) -> Draws:
    """Draw a step's random numbers on the CPU; this advances the generators and the sampler.

    `config` is the configuration of the training. Its schedules are evaluated at the step
    `state.step`.
    """
    config = config_at(config, state.step)
    share = torch.tensor(ema_share(config, state.step + 1))
    turns = tuple(_draw_turn(state, config) for _ in range(config.train.d_steps))
    return Draws(turns, share, numbers_of(config))


def ema_share(config: RunConfig, step: int) -> float:
    """Return the fraction by which the weight average moves towards G in `step`, counted from 1.

    `config` must be a result of `config_at` for `step` - 1, because `config_at` counts from 0.
    """
    images, halflife = config.train.images_per_step, config.train.ema_halflife_kimg * 1000
    if config.train.ema_rampup > 0:
        halflife = min(halflife, config.train.ema_rampup * step * images)
    return 1 - 0.5 ** (images / halflife) if halflife > 0 else 1.0


def to_device(draws: Draws, device: torch.device) -> Draws:
    """Copy `draws` to `device` in one transfer, without waiting; return the copy.

    The tensors of the result are views of one buffer. float64 becomes float32 on Apple's GPUs.
    """
    tensors: list[Tensor] = []

    def collect(tensor: Tensor) -> Tensor:
        tensors.append(_supported(tensor, device))
        return tensor

    _each(draws, collect)
    starts, size = [], 0
    for tensor in tensors:
        starts.append(size)
        size += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
    # PyTorch reuses pinned memory only after the device has read it, so the next step's draws
    # cannot overwrite a copy that is still running.
    pinned = device.type == "cuda" and torch.cuda.is_available()
    host = torch.empty(size, dtype=torch.uint8, pin_memory=pinned)
    for start, tensor in zip(starts, tensors, strict=True):
        _view(host, start, tensor).copy_(tensor)
    buffer = host.to(device, non_blocking=True)
    views = iter(
        [_view(buffer, start, tensor) for start, tensor in zip(starts, tensors, strict=True)]
    )
    return _each(draws, lambda tensor: next(views))


def _draw_turn(state: TrainState, config: RunConfig) -> Turn:
    """Draw the random numbers of one turn for the whole batch; return this process's rows."""
    train, model, rngs, rows = config.train, config.model, state.rngs, state.group.local_rows
    count = train.batch_size

    def augmentation(stream: str) -> Draw:
        return pipeline.each(pipeline.draw(config.augment, count, rngs[stream]), rows)

    indices, mirrored = state.sampler.next()
    latents = torch.randn(count, model.nz, generator=rngs["latents"])
    fake, real = augmentation("augment"), augmentation("augment")
    part = torch.tensor(CENTRE)
    if model.decode_part == "random":
        part = torch.randint(4, (), generator=rngs["part"])
    labels = torch.rand((2, count, model.logits), generator=rngs["labels"])
    shares = torch.empty(0)
    if LOSSES[train.loss].penalty is not None:
        shares = rows(torch.rand(count, generator=rngs["interpolates"]))
    targets: tuple[Tensor, ...] = ()
    if model.task == "augself":
        channels = config.data.channels
        targets = tuple(targets_of(drawn, config.augment, channels) for drawn in (real, fake))
    views = [augmentation("contrastive") for _ in range(2 if model.task == "contrastive" else 0)]
    near: tuple[Tensor, ...] = ()
    if train.uses_near_latents:
        steps = torch.randn(latents.shape, generator=rngs["consistency"])
        near = (rows(latents + train.zcr_noise * steps),)
    mixtures: Mixtures = {}
    if mixdl.is_on(config):
        layers = len(state.generator.feature_layers())
        drawn = mixdl.draw(latents, layers, rngs["mixtures"])
        mixtures = {name: rows(value) for name, value in drawn.items()}
    kinds = INSTANCE_KINDS.get(model.task, ())
    key_latents: tuple[Tensor, ...] = ()
    if kinds:
        steps = torch.randn(latents.shape, generator=rngs["instances"])
        key_latents = (rows(latents + train.insgen_noise * steps),)
    return Turn(
        indices=rows(indices),
        mirrored=rows(mirrored),
        latents=rows(latents),
        labels=rows(1 - train.label_noise * labels, dim=1),
        part=part,
        shares=shares,
        fake=fake,
        real=real,
        views=tuple(views),
        second_real=augmentation("consistency") if train.largest("bcr_real_weight") > 0 else {},
        second_fake=augmentation("consistency") if train.largest("bcr_fake_weight") > 0 else {},
        near_latents=near,
        targets=targets,
        mixtures=mixtures,
        key_latents=key_latents,
        key_draws={kind: augmentation("instances") for kind in kinds},
    )


def _supported(tensor: Tensor, device: torch.device) -> Tensor:
    """Convert a float64 tensor to the most precise float type of `device`."""
    return tensor.to(wide(device)) if tensor.dtype == torch.float64 else tensor


def _view(buffer: Tensor, start: int, like: Tensor) -> Tensor:
    """Return the bytes of `buffer` from `start` as a tensor of the shape and dtype of `like`."""
    return buffer[start : start + like.nbytes].view(like.dtype).view(like.shape)


def _each(tree: _Tree, change: Callable[[Tensor], Tensor]) -> _Tree:
    """Return a copy of `tree` in which each tensor is replaced by the result of `change`.

    `tree` is a `Draws` or a part of it: a turn, a dictionary, a tuple or a tensor.
    """
    branch: Any = tree
    if isinstance(branch, Tensor):
        return change(branch)  # type: ignore[return-value]  # a tensor becomes a tensor
    if isinstance(branch, dict):
        return {name: _each(value, change) for name, value in branch.items()}  # type: ignore[return-value]
    parts = [_each(value, change) for value in branch]
    return type(branch)(*parts) if isinstance(branch, Turn | Draws) else tuple(parts)  # type: ignore[return-value]
