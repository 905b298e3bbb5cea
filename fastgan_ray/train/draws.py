"""Everything random of a training step, drawn before it and brought to the device in one piece.

All of it comes from the named streams on the CPU, so that it is the same on every device, and of a
group each process takes its rows. What a step computes is then a function of the state and these
tensors, whose shapes are the same at every step: nothing in it waits for the device or copies to
it. (The noise and what dropout leaves out have the size of features: they are drawn on the device,
by generators that are seeded for each step. See `rng`.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from fastgan_ray.augment import pipeline
from fastgan_ray.augment.geometry import wide
from fastgan_ray.augment.pipeline import Draw
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.train.losses import LOSSES
from fastgan_ray.train.state import TrainState

CENTRE = 4  # `crop_part`'s number of the middle; 0..3 are the quadrants
_ALIGNMENT = 16  # bytes
_Tree = TypeVar("_Tree")


class Turn(NamedTuple):
    """What one step of D draws; B are the samples of this process."""

    indices: Tensor
    """(B,) int64: which pictures."""
    mirrored: Tensor
    """(B,) bool: those that are flipped."""
    latents: Tensor
    """(B, nz)."""
    labels: Tensor
    """(2, B, L), of real and of generated pictures' logits."""
    part: Tensor
    """Scalar, int64: which quadrant the decoder of parts sees, see `crop_part`."""
    shares: Tensor
    """(B,): where between real and generated pictures the slope is looked at; else empty."""
    fake: Draw
    real: Draw
    views: tuple[Draw, ...]
    """The two of the contrastive loss, or none."""


class Draws(NamedTuple):
    """What one training step draws."""

    turns: tuple[Turn, ...]
    ema_share: Tensor
    """Scalar: how far the weight average moves towards G."""


def draw_step(state: TrainState, config: RunConfig) -> Draws:
    """Draw a step's random numbers, on the CPU; the streams and the sampler move on."""
    share = torch.tensor(ema_share(config, state.step + 1))
    return Draws(tuple(_draw_turn(state, config) for _ in range(config.train.d_steps)), share)


def ema_share(config: RunConfig, step: int) -> float:
    """Compute how far the weight average moves towards G in step `step`, from 1."""
    images, halflife = config.train.images_per_step, config.train.ema_halflife_kimg * 1000
    if config.train.ema_rampup > 0:
        halflife = min(halflife, config.train.ema_rampup * step * images)
    return 1 - 0.5 ** (images / halflife) if halflife > 0 else 1.0


def place(draws: Draws, device: torch.device) -> Draws:
    """Bring draws to `device`: one buffer, one copy that nobody waits for, and views of it."""
    tensors: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        tensors.append(_fitting(tensor, device))
        return tensor

    _each(draws, note)
    starts, size = [], 0
    for tensor in tensors:
        starts.append(size)
        size += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
    # Pinned memory is handed out again only when the device has read it (PyTorch sees to that), so
    # that the next step's draws can be written while this one's are on their way.
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
    """Draw for the whole group, and take this process's rows."""
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
    views = [augmentation("contrastive") for _ in range(2 if model.contrasts else 0)]
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
    )


def _fitting(tensor: Tensor, device: torch.device) -> Tensor:
    """In a number format that `device` has."""
    return tensor.to(wide(device)) if tensor.dtype == torch.float64 else tensor


def _view(buffer: Tensor, start: int, like: Tensor) -> Tensor:
    """The part of a buffer of bytes from `start` on, as a tensor like `like`."""
    return buffer[start : start + like.nbytes].view(like.dtype).view(like.shape)


def _each(tree: _Tree, change: Callable[[Tensor], Tensor]) -> _Tree:
    """Draws, or a part of them, with every tensor changed."""
    branch: Any = tree
    if isinstance(branch, Tensor):
        return change(branch)  # type: ignore[return-value]  # a tensor for a tensor
    if isinstance(branch, dict):
        return {name: _each(value, change) for name, value in branch.items()}  # type: ignore[return-value]
    parts = [_each(value, change) for value in branch]
    return type(branch)(*parts) if isinstance(branch, Turn | Draws) else tuple(parts)  # type: ignore[return-value]
