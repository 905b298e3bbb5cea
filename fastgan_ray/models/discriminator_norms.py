"""The normalisation layers of D: batch, instance, group, none and CHAIN.

CHAIN (Ni and Koniusz, CVPR 2024, "CHAIN: Enhancing Generalization in Data-Efficient GANs via
Lipschitz Continuity Constrained Normalization") divides features by their root mean square instead
of normalising mean and variance, and limits the Lipschitz constant. Each channel of each sample is
normalised only with probability p, which rises while D overfits. A penalty pulls the means of the
channels towards 0. This is the form with the statistics of the batch ("chain_batch"), which has
second derivatives. Statistics of real and of generated pictures are never mixed, because D sees
them in separate batches.
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
    """The probability p of CHAIN's layers in one D, and what the layers need in a forward pass.

    The buffers are scalars: `p`, the moving average `sign` of the signs of D's logits of real
    pictures, and the number of D's `steps`.
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
        """Draw with `rng` which channels are normalised, inside this context.

        If `rng` is None, the factor of each channel is p times its factor with normalisation,
        plus 1 - p.
        """
        self.rng = rng
        try:
            yield
        finally:
            self.rng = None

    @contextlib.contextmanager
    def collecting(self) -> Iterator[list[Tensor]]:
        """Collect the layers' penalties, one scalar for each layer and forward pass."""
        self.penalties = []
        try:
            yield self.penalties
        finally:
            self.penalties = None

    def penalty(self, penalties: list[Tensor], min_p: float) -> Tensor:
        """Compute the loss term from collected penalties: (p + `min_p`) times their sum."""
        return (self.p + min_p) * torch.stack(penalties).sum()

    @torch.no_grad()
    def adapt(self, sign: Tensor, target: float, first_step: int) -> None:
        """Move p after a step of D, up if D overfits and down otherwise.

        `sign` is the mean sign of D's logits of real pictures, from -1 to 1. D overfits if the
        average of the signs is above `target`. p stays 0 before `first_step`.
        """
        self.steps.add_(1)
        self.sign.lerp_(sign.to(self.sign), 1 - SIGN_DECAY)
        step = STEP * torch.sign(self.sign - target) * (self.steps > first_step)
        self.p.add_(step).clamp_(0, 1)


class Chain(nn.Module):
    """CHAIN's normalisation of features (B, C, H, W), and a learnt shift of each channel."""

    def __init__(self, channels: int, control: ChainControl) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self._control = (control,)  # in a tuple, because the control is a submodule of D itself

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise a random part of the channels; shape and dtype do not change."""
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
        """Return 1 for each sample and channel to normalise and 0 for the others: (B, C, 1, 1).

        Without a random number generator, return p, a scalar.
        """
        if control.rng is None:
            return control.p
        shape = (control.group.size * like.shape[0], like.shape[1], 1, 1)
        uniform = torch.rand(shape, generator=control.rng, device=control.rng.device)
        return control.group.local_rows((uniform < control.p).to(like))


class Shift(nn.Module):
    """A layer that adds a learnt number, at first 0, to each channel of a map (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Shift the channels; shape and dtype do not change."""
        return x_BCHW + self.bias[:, None, None].to(x_BCHW.dtype)


def plain_norm(kind: str, channels: int) -> nn.Module:
    """Return the layer for the normalisation `kind`: instance, group or none.

    Instance normalisation has a learnt scale and shift. Group normalisation has up to 32 groups (Wu
    and He 2018): the largest power of two that divides `channels`.
    """
    if kind == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    if kind == "group":
        return nn.GroupNorm(math.gcd(channels, _MAX_GROUPS), channels)
    return Shift(channels)
