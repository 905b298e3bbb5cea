"""Define the layers that can replace batch normalisation in D: CHAIN and simpler layers.

CHAIN: Ni and Koniusz, "CHAIN: Enhancing Generalization in Data-Efficient GANs via Lipschitz
Continuity Constrained Normalization" (CVPR 2024). It divides each channel by its root mean square
over the batch, and multiplies all channels by the smallest of these values. This limits the
Lipschitz constant. Each channel of each sample is normalised only with probability p, which rises
while D overfits. A penalty makes the means of the channels small. The paper has several forms. This
is the form "chain_batch", which uses the statistics of the batch and has second derivatives. D sees
real and generated pictures in separate batches, so their statistics are never mixed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from fastgan_ray.arithmetic import at_least_float32
from fastgan_ray.distributed import ALONE, Group

_EPSILON = 1e-5
_MAX_GROUPS = 32
SIGN_DECAY = 0.9  # decay of the average of the signs of D's logits
STEP = 0.001  # the change of p in one step of D


class ChainControl(nn.Module):
    """The state that all CHAIN layers of a discriminator share.

    The state has three scalars. `p` is the probability that a channel is normalised. `sign` is a
    moving average of the signs of D's logits of real pictures. `steps` is the number of D's steps.
    """

    p: Tensor
    sign: Tensor
    steps: Tensor
    group: Group = ALONE

    def __init__(self) -> None:
        super().__init__()
        for name in ("p", "sign"):
            self.register_buffer(name, torch.zeros(()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.rng: torch.Generator | None = None
        self.penalties: list[Tensor] | None = None

    @contextlib.contextmanager
    def drawing(self, rng: torch.Generator | None) -> Iterator[None]:
        """Use `rng` within this context to draw which channels are normalised.

        If `rng` is None, nothing is drawn. Each channel then is p times its normalised values plus
        (1 - p) times its values before normalisation.
        """
        self.rng = rng
        try:
            yield
        finally:
            self.rng = None

    @contextlib.contextmanager
    def collecting(self) -> Iterator[list[Tensor]]:
        """Yield a list that gets a penalty (a scalar) for each CHAIN layer and forward pass."""
        self.penalties = []
        try:
            yield self.penalties
        finally:
            self.penalties = None

    def penalty(self, penalties: list[Tensor], min_p: float) -> Tensor:
        """Return (p + `min_p`) times the sum of `penalties`, as a term of D's loss."""
        return (self.p + min_p) * torch.stack(penalties).sum()

    @torch.no_grad()
    def adapt(self, sign: Tensor, target: float, first_step: int) -> None:
        """After a step of D, add the constant `STEP` to p if D overfits, else subtract it.

        `sign` is the mean sign of D's logits of real pictures in this step, from -1 to 1. D
        overfits if the moving average of `sign` is above `target`. p stays between 0 and 1. It does
        not change in D's steps 1 to `first_step`.
        """
        self.steps.add_(1)
        self.sign.lerp_(sign.to(self.sign), 1 - SIGN_DECAY)
        step = STEP * torch.sign(self.sign - target) * (self.steps > first_step)
        self.p.add_(step).clamp_(0, 1)


class Chain(nn.Module):
    """A layer that normalises features (B, C, H, W) by CHAIN; it has a learnt shift per channel."""

    def __init__(self, channels: int, control: ChainControl) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self._control = (control,)  # in a tuple, because the control is a submodule of D itself

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise channels that are chosen at random; shape and dtype do not change."""
        control = self._control[0]
        wide = at_least_float32(x_BCHW)
        if control.penalties is not None:
            means_C = control.group.gather(wide.mean(dim=(0, 2, 3))[None]).mean(dim=0)
            control.penalties.append(means_C.square().sum())
        squares_C = control.group.gather(wide.square().mean(dim=(0, 2, 3))[None]).mean(dim=0)
        smallest = squares_C.detach().min().sqrt()
        factor_C = smallest * (squares_C + _EPSILON).rsqrt()
        share = self._share(control, wide)
        factor = 1 + share * (factor_C[None, :, None, None] - 1)
        return (wide * factor + self.bias[:, None, None]).to(x_BCHW.dtype)

    def _share(self, control: ChainControl, like: Tensor) -> Tensor:
        """Return how much of each channel is normalised: 0 is nothing, and 1 is everything.

        `control.rng` draws a number for each sample and channel: 1 with probability p, else 0. The
        result is (B, C, 1, 1), with the dtype of the features `like`. If `control.rng` is None, the
        result is the scalar p.
        """
        if control.rng is None:
            return control.p
        shape = (control.group.size * like.shape[0], like.shape[1], 1, 1)
        uniform = torch.rand(shape, generator=control.rng, device=control.rng.device)
        return control.group.local_rows((uniform < control.p).to(like))


class Shift(nn.Module):
    """A layer that adds a learnt number to each channel of features (B, C, H, W).

    The numbers are 0 at first.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Add the learnt numbers to the channels; shape and dtype do not change."""
        return x_BCHW + self.bias[:, None, None].to(x_BCHW.dtype)


def plain_norm(kind: str, channels: int) -> nn.Module:
    """Return a normalisation layer of the kind "instance", "group" or "none".

    Instance and group normalisation have a learnt scale and shift; "none" has only a learnt shift.
    The number of groups is the largest power of two that divides `channels`, but at most 32 (Wu and
    He 2018).
    """
    if kind == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    if kind == "group":
        return nn.GroupNorm(math.gcd(channels, _MAX_GROUPS), channels)
    return Shift(channels)
