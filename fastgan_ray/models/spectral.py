"""Normalise weights spectrally (Miyato et al. 2018) like PyTorch, but faster.

The tensors, their names and their values are those of PyTorch's spectral normalisation. PyTorch is
slower for three reasons. For each use of a weight, it copies a channels-last weight three times. It
multiplies the weight by a vector three times, although two times are enough. It needs a dozen
autograd operations for the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils import parametrize

EPS = 1e-12
_FIRST_ITERATIONS = 15
_Shape = tuple[int, int, int]  # channels, height, width


def spectral_norm(layer: nn.Conv2d | nn.ConvTranspose2d, rng: torch.Generator) -> None:
    """Add spectral normalisation to a layer.

    `rng` (on the CPU) draws the initial vectors of the power iteration.
    """
    parametrize.register_parametrization(layer, "weight", SpectralNorm(layer, rng))


class SpectralNorm(nn.Module):
    """A parametrization that divides the weight of a convolution by its largest singular value.

    The weight is treated as a matrix with a row for each output channel. `_u` and `_v` approximate
    the singular vectors of the largest singular value. In training mode, each use of the weight
    improves these vectors by one power iteration. `spectral_joint` may store a normalised weight in
    `current`. Then each use of the weight returns `current`, and does not change the vectors.
    """

    _u: Tensor
    _v: Tensor
    current: Tensor | None

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d, rng: torch.Generator) -> None:
        super().__init__()
        weight, rows = layer.weight.detach(), layer.out_channels
        self.transposed = layer.transposed
        self.current = None
        for name, size in {"_u": rows, "_v": weight.numel() // rows}.items():
            self.register_buffer(name, _unit_(torch.randn(size, generator=rng))[0])
        matrix = self._matrix(weight)
        for _ in range(_FIRST_ITERATIONS):
            self._iterate(*matrix)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the normalised weight, with the memory layout of `weight`."""
        if self.current is not None:
            return self.current
        with full_precision(weight.device.type):
            compute = self._iterate if self.training else self._value
            u, v, value = compute(*self._matrix(weight.detach()))
            if self.transposed:
                shapes = (1, -1, 1, 1), (weight.shape[0], 1, *weight.shape[2:])
            else:
                shapes = (-1, 1, 1, 1), (1, *weight.shape[1:])
            normalised: Tensor = _Divide.apply(weight, value, u.view(shapes[0]), v.view(shapes[1]))
        return normalised

    def _iterate(self, matrix: Tensor, shape: _Shape) -> tuple[Tensor, Tensor, Tensor]:
        """Improve the vectors by one power iteration.

        Returns u (rows,), v (columns,) and the singular value, a scalar. `matrix` and `shape` are
        the results of `_matrix`.
        """
        u, _ = _unit_(torch.mv(matrix, _last(self._v, shape)))
        # v is u W scaled to length 1, so the value u W v is the length of u W.
        v, value = _unit_(torch.mv(matrix.T, u))
        v = _first(v, shape)
        self._u.copy_(u)
        self._v.copy_(v)
        return u, v, value

    def _value(self, matrix: Tensor, shape: _Shape) -> tuple[Tensor, Tensor, Tensor]:
        """Return the unchanged u (rows,) and v (columns,), and the singular value u W v."""
        return self._u, self._v, torch.dot(self._u, torch.mv(matrix, _last(self._v, shape)))

    def _matrix(self, weight: Tensor) -> tuple[Tensor, _Shape]:
        """Return the weight as a matrix with a row for each output channel, and the shape of a row.

        The shape of a row is (channels, height, width). The columns of the matrix are in
        channels-last order. So if the weight is channels-last, the matrix is a view and not a copy.
        """
        rows = weight.permute(0, 2, 3, 1)
        if self.transposed:
            return rows.flatten(0, 2).T, (weight.shape[0], 1, 1)
        return rows.flatten(1), (weight.shape[1], weight.shape[2], weight.shape[3])


class SpectralLayer(NamedTuple):
    """The weight of a spectrally normalised convolution, and its normalisation."""

    parameters: parametrize.ParametrizationList
    norm: SpectralNorm

    @property
    def weight(self) -> Tensor:
        """The trained weight, before the normalisation."""
        weight: Tensor = self.parameters.original
        return weight


def spectral_layers(module: nn.Module) -> Iterator[SpectralLayer]:
    """Yield the spectrally normalised convolutions in `module`, in the order of its submodules."""
    for part in module.modules():
        if isinstance(part, parametrize.ParametrizationList) and isinstance(part[0], SpectralNorm):
            yield SpectralLayer(part, part[0])


def settle_vectors(layer: SpectralLayer) -> None:
    """Improve u and v of a layer by several power iterations.

    Call this after you have copied another weight into the layer.
    """
    matrix = layer.norm._matrix(layer.weight.detach())
    for _ in range(_FIRST_ITERATIONS):
        layer.norm._iterate(*matrix)


class _Divide(torch.autograd.Function):
    """Divides a weight W by its singular value u W v (`value`); u and v get no gradient."""

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


def full_precision(device: str) -> AbstractContextManager[None]:
    """Switch off autocast within this context, because 16 bits are too few for a singular value."""
    if torch.amp.is_autocast_available(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def _unit_(vector: Tensor) -> tuple[Tensor, Tensor]:
    """Scale a vector to length 1, in place; return the vector and its length before scaling."""
    length = torch.linalg.vector_norm(vector)
    return vector.div_(length.clamp_min(EPS)), length


def _last(v: Tensor, shape: _Shape) -> Tensor:
    """Reorder the singular vector v (columns,) from channels-first to channels-last order."""
    return v if shape[1:] == (1, 1) else v.view(shape).permute(1, 2, 0).reshape(-1)


def _first(v: Tensor, shape: _Shape) -> Tensor:
    """Reorder the singular vector v (columns,) from channels-last to channels-first order."""
    channels, height, width = shape
    return v if shape[1:] == (1, 1) else v.view(height, width, channels).permute(2, 0, 1).flatten()
