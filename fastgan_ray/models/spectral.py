"""Spectral normalisation (Miyato et al. 2018): PyTorch's tensors, names and values, for less time.

PyTorch's copies a channels-last weight into rows three times at each use, multiplies it three times
where twice is enough, and leaves the gradient to a dozen operations of autograd.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils import parametrize

_EPS = 1e-12
_FIRST_ITERATIONS = 15
_Shape = tuple[int, int, int]  # channels, height, width


def spectral_norm(layer: nn.Conv2d | nn.ConvTranspose2d, rng: torch.Generator) -> None:
    """Normalise a layer's weight from now on; `rng` draws where the iteration starts."""
    parametrize.register_parametrization(layer, "weight", SpectralNorm(layer, rng))


class SpectralNorm(nn.Module):
    """A parametrization: a convolution's weight over its largest singular value, by iteration.

    The weight is a matrix with a row for each output channel, `_u` and `_v` are its first singular
    vectors as far as they are known. Each use of the weight in training mode improves them once.
    """

    _u: Tensor
    _v: Tensor

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d, rng: torch.Generator) -> None:
        super().__init__()
        weight, rows = layer.weight.detach(), layer.out_channels
        self._transposed = layer.transposed
        for name, size in {"_u": rows, "_v": weight.numel() // rows}.items():
            self.register_buffer(name, _unit_(torch.randn(size, generator=rng))[0])
        matrix = self._matrix(weight)
        for _ in range(_FIRST_ITERATIONS):
            self._iterate(*matrix)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, normalised, in its own layout."""
        # Sixteen bits would be too few for a singular value.
        with _all_digits(weight.device.type):
            look = self._iterate if self.training else self._value
            u, v, value = look(*self._matrix(weight.detach()))
            if self._transposed:
                shapes = (1, -1, 1, 1), (weight.shape[0], 1, *weight.shape[2:])
            else:
                shapes = (-1, 1, 1, 1), (1, *weight.shape[1:])
            normalised: Tensor = _Divide.apply(weight, value, u.view(shapes[0]), v.view(shapes[1]))
        return normalised

    def _iterate(self, matrix: Tensor, shape: _Shape) -> tuple[Tensor, Tensor, Tensor]:
        """Better vectors, and the singular value."""
        u, _ = _unit_(torch.mv(matrix, _last(self._v, shape)))
        # The value u W v is the length of u W, whose direction v is.
        v, value = _unit_(torch.mv(matrix.T, u))
        v = _first(v, shape)
        self._u.copy_(u)
        self._v.copy_(v)
        return u, v, value

    def _value(self, matrix: Tensor, shape: _Shape) -> tuple[Tensor, Tensor, Tensor]:
        """The vectors as they are, and their value."""
        return self._u, self._v, torch.dot(self._u, torch.mv(matrix, _last(self._v, shape)))

    def _matrix(self, weight: Tensor) -> tuple[Tensor, _Shape]:
        """A row for each output channel, and what its columns are.

        A view of a channels-last weight; the columns have the input channels last.
        """
        rows = weight.permute(0, 2, 3, 1)
        if self._transposed:
            return rows.flatten(0, 2).T, (weight.shape[0], 1, 1)
        return rows.flatten(1), (weight.shape[1], weight.shape[2], weight.shape[3])


class _Divide(torch.autograd.Function):
    """weight / value, where value = u weight v; u and v span the weight and are constants."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, value: Tensor, u: Tensor, v: Tensor) -> Tensor:  # noqa: ANN401 - autograd has no type
        ctx.save_for_backward(weight, value, u, v)
        return weight / value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - autograd has no type
        weight, value, u, v = ctx.saved_tensors
        gradient = gradient / value
        share = (gradient * weight).sum() / value
        return gradient.addcmul_(u * share, v, value=-1), None, None, None


def _all_digits(device: str) -> AbstractContextManager[None]:
    if torch.amp.is_autocast_available(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def _unit_(vector: Tensor) -> tuple[Tensor, Tensor]:
    """The vector, in place, at length 1, and the length that it had."""
    length = torch.linalg.vector_norm(vector)
    return vector.div_(length.clamp_min(_EPS)), length


def _last(v: Tensor, shape: _Shape) -> Tensor:
    """From input channels first to last."""
    return v if shape[1:] == (1, 1) else v.view(shape).permute(1, 2, 0).reshape(-1)


def _first(v: Tensor, shape: _Shape) -> Tensor:
    """From input channels last to first."""
    channels, height, width = shape
    return v if shape[1:] == (1, 1) else v.view(height, width, channels).permute(2, 0, 1).flatten()
