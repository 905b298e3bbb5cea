"""Normalise all weights of a network spectrally at once, with a few operators instead of many.

One flat copy has all weights, each in its own memory order. Weights with the same shape are next
to each other and are multiplied as one batch of matrices. Small weights are multiplied element by
element, whatever their shapes. Norms, divisions and gradients are computed from the flat copy. The
values equal those of `spectral`, which normalises weights one by one, except for the order of sums.

Sizes: L weights have N elements, U rows and V columns in total. A vector of size P = U + V has the
vectors u of all weights, then the vectors v of all weights.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fastgan_ray.models.kernels import kernels_for
from fastgan_ray.models.spectral import EPS, SpectralLayer, full_precision, spectral_layers
from fastgan_ray.torch_compat import copy_each_, norm_of_each


class JointSpectralNorm:
    """Normalises all weights of some modules at once; the modules must be used together."""

    def __init__(self, *modules: nn.Module) -> None:
        self._modules = modules
        self._layers: list[SpectralLayer] | None = None
        self._plans: dict[tuple[torch.device, int, int], _Plan | None] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> JointSpectralNorm:
        """Make a copy that normalises the copies of the modules."""
        return JointSpectralNorm(*(copy.deepcopy(module, memo) for module in self._modules))

    @contextmanager
    def normalised(self) -> Iterator[None]:
        """Normalise all weights now, once for all their uses within this context.

        In training mode, this improves the vectors by one iteration. If KERNELS does not choose
        joint normalisation for the device, or if a weight is not channels last, each use of a
        weight normalises this weight separately.
        """
        plan = self._plan()
        if plan is None:
            yield
            return
        norms = [layer.norm for layer in plan.layers]
        with full_precision(plan.owner_P.device.type):
            weights = _Normalise.apply(plan, *(layer.weight for layer in plan.layers))
        for norm, weight in zip(norms, weights, strict=True):
            norm.current = weight
        try:
            yield
        finally:
            for norm in norms:
                norm.current = None

    def _plan(self) -> _Plan | None:
        """Return the plan for the weights' device; None: normalise each weight separately."""
        # Find the layers at the first use: while a network is copied, its modules are incomplete.
        if self._layers is None:
            self._layers = [part for module in self._modules for part in spectral_layers(module)]
        if not self._layers:
            return None
        device = self._layers[0].weight.device
        kernels = kernels_for(device)
        key = device, kernels.joint_up_to, kernels.gather_up_to
        if key not in self._plans:
            layers = [x for x in self._layers if x.weight.numel() <= kernels.joint_up_to]
            self._plans[key] = _Plan(layers, kernels.gather_up_to, device) if layers else None
        plan = self._plans[key]
        return plan if plan is not None and plan.is_channels_last() else None


class _Shape(NamedTuple):
    """The shape of a weight as the matrix that spectral normalisation uses."""

    rows: int
    columns: int
    transposed: bool  # the matrix is stored in memory with columns before rows

    @classmethod
    def of(cls, layer: SpectralLayer) -> _Shape:
        return cls(layer.norm._u.numel(), layer.norm._v.numel(), layer.norm.transposed)


class _Batch(NamedTuple):
    """A batch of weights with the same shape, and their positions in the flat tensors."""

    shape: _Shape
    size: int
    elements: slice  # positions among the N elements
    rows: slice  # positions among the U rows
    columns: slice  # positions among the V columns

    def matrices(self, flat_N: Tensor) -> Tensor:
        """Return a view of the batch's weights as matrices: (size, rows, columns)."""
        rows, columns, transposed = self.shape
        if transposed:
            return flat_N[self.elements].view(self.size, columns, rows).mT
        return flat_N[self.elements].view(self.size, rows, columns)


class _Plan:
    """The order of the weights, and index tensors; they are made once, for all normalisations.

    The `small` weights (at most `gather_up_to` elements) are first, then `batches` of larger ones.
    """

    def __init__(
        self, layers: Sequence[SpectralLayer], gather_up_to: int, device: torch.device
    ) -> None:
        def is_small(layer: SpectralLayer) -> bool:
            return not layer.norm.transposed and layer.weight.numel() <= gather_up_to

        small = [layer for layer in layers if is_small(layer)]
        large = sorted((layer for layer in layers if not is_small(layer)), key=_Shape.of)
        self.layers = [*small, *large]
        self.shapes = [_Shape.of(layer) for layer in self.layers]
        self.rows = [shape.rows for shape in self.shapes]
        self.columns = [shape.columns for shape in self.shapes]
        self.sizes = [shape.rows * shape.columns for shape in self.shapes]
        self.chunk = math.gcd(*self.sizes)
        self.batches = self._batches(len(small))
        self.small = _Small(self.shapes[: len(small)], device) if small else None
        self._fill(device)

    def _batches(self, start: int) -> list[_Batch]:
        batches = []
        for shape, members in itertools.groupby(self.shapes[start:]):
            stop = start + len(list(members))
            ranges = (
                slice(sum(sizes[:start]), sum(sizes[:stop]))
                for sizes in (self.sizes, self.rows, self.columns)
            )
            batches.append(_Batch(shape, stop - start, *ranges))
            start = stop
        return batches

    def _fill(self, device: torch.device) -> None:
        """Make the index tensors.

        They convert columns between memory order and published order, and map each element to its
        weight.
        """
        number = torch.arange(len(self.layers), dtype=torch.int32)
        rows, columns = torch.tensor(self.rows), torch.tensor(self.columns)
        owner_U = number.repeat_interleave(rows)
        owner_V = number.repeat_interleave(columns)
        chunks = torch.tensor(self.sizes) // self.chunk
        memory_V = torch.cat(
            [
                start + _memory_order(layer)
                for layer, start in zip(self.layers, _starts(self.columns), strict=True)
            ]
        )
        published_P = torch.cat([torch.arange(sum(self.rows)), sum(self.rows) + memory_V.argsort()])
        self.memory_V = memory_V.int().to(device)
        self.published_P = published_P.int().to(device)
        self.owner_U = owner_U.to(device)
        self.owner_P = torch.cat([owner_U, len(self.layers) + owner_V]).to(device)
        self.owner_of_chunk = number.repeat_interleave(chunks).to(device)
        self.rows_L, self.chunks_L = rows.to(device), chunks.to(device)

    def is_channels_last(self) -> bool:
        """Return whether all weights are channels last, as the flat copy requires."""
        last = torch.channels_last
        return all(layer.weight.is_contiguous(memory_format=last) for layer in self.layers)

    def multiply(self, flat_N: Tensor, v_V: Tensor) -> list[Tensor]:
        """Multiply each weight by its v; all results together have U elements.

        `flat_N` has the elements of all weights, `v_V` their v vectors.
        """
        products = [self.small.multiply(flat_N, v_V)] if self.small else []
        for batch in self.batches:
            v = v_V[batch.columns].view(batch.size, -1, 1)
            products.append(torch.bmm(batch.matrices(flat_N), v).view(-1))
        return products

    def multiply_transposed(self, flat_N: Tensor, u: Sequence[Tensor]) -> list[Tensor]:
        """Multiply each transposed weight by its u (from `multiply`).

        All results together have V elements.
        """
        products, u_of_batches = [], list(u)
        if self.small:
            products.append(self.small.multiply_transposed(flat_N, u_of_batches.pop(0)))
        for batch, u_batch in zip(self.batches, u_of_batches, strict=True):
            matrices = batch.matrices(flat_N).mT
            products.append(torch.bmm(matrices, u_batch.view(batch.size, -1, 1)).view(-1))
        return products

    def subtract_outer_(self, flat_N: Tensor, u_U: Tensor, v_V: Tensor) -> None:
        """Subtract from each weight the product of its u and v, in place."""
        if self.small:
            self.small.subtract_outer_(flat_N, u_U, v_V)
        for batch in self.batches:
            u = u_U[batch.rows].view(batch.size, -1, 1)
            v = v_V[batch.columns].view(batch.size, 1, -1)
            batch.matrices(flat_N).addcmul_(u, v, value=-1)


class _Small:
    """Matrices of any shapes that are multiplied element by element.

    Index tensors have the row and the column of each of the S elements.
    """

    def __init__(self, shapes: Sequence[_Shape], device: torch.device) -> None:
        rows = torch.tensor([shape.rows for shape in shapes])
        columns = torch.tensor([shape.columns for shape in shapes])
        self.size = int((rows * columns).sum())
        lengths_U = columns.repeat_interleave(rows)
        row_S = torch.arange(len(lengths_U)).repeat_interleave(lengths_U)
        column_S = torch.cat(
            [
                start + torch.arange(shape.columns).repeat(shape.rows)
                for shape, start in zip(shapes, _starts(columns.tolist()), strict=True)
            ]
        )
        self.row_S, self.column_S = row_S.int().to(device), column_S.int().to(device)
        self.by_column_S = column_S.argsort(stable=True).int().to(device)
        self.lengths_U = lengths_U.to(device)
        self.lengths_V = rows.repeat_interleave(columns).to(device)

    def multiply(self, flat_N: Tensor, v_V: Tensor) -> Tensor:
        terms_S = v_V.index_select(0, self.column_S).mul_(flat_N[: self.size])
        return _segment_sums(terms_S, self.lengths_U)

    def multiply_transposed(self, flat_N: Tensor, u_U: Tensor) -> Tensor:
        terms_S = u_U.index_select(0, self.row_S).mul_(flat_N[: self.size])
        return _segment_sums(terms_S.index_select(0, self.by_column_S), self.lengths_V)

    def subtract_outer_(self, flat_N: Tensor, u_U: Tensor, v_V: Tensor) -> None:
        u_S, v_S = u_U.index_select(0, self.row_S), v_V.index_select(0, self.column_S)
        flat_N[: self.size].addcmul_(u_S, v_S, value=-1)


class _Normalise(torch.autograd.Function):
    """Divide each weight W by its largest singular value u W v; u and v count as constants."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, *weights: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401 - autograd has no type
        flat_N = torch.cat([_in_memory(weight) for weight in weights])
        if plan.layers[0].norm.training:
            vectors_P, values_L = _iterate(plan, flat_N)
        else:
            vectors_P, values_L = _look_up(plan, flat_N)
        divisor_C1 = values_L.index_select(0, plan.owner_of_chunk)[:, None]
        flat_N.view(-1, plan.chunk).div_(divisor_C1)
        ctx.plan = plan
        ctx.save_for_backward(flat_N, vectors_P, values_L, divisor_C1)
        ctx.set_materialize_grads(False)
        return _as_weights(flat_N, plan.sizes, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - autograd has no type
        plan: _Plan = ctx.plan
        normalised_N, vectors_P, values_L, divisor_C1 = ctx.saved_tensors
        weights = [layer.weight for layer in plan.layers]
        flat_N = torch.cat(
            [
                _in_memory(torch.zeros_like(weight) if gradient is None else gradient)
                for weight, gradient in zip(weights, gradients, strict=True)
            ]
        )
        chunks_CK = (flat_N * normalised_N).view(-1, plan.chunk)
        dots_L = _segment_sums(chunks_CK.sum(1), plan.chunks_L).div_(values_L)
        rows = len(plan.owner_U)
        u_U = dots_L.index_select(0, plan.owner_U).mul_(vectors_P[:rows])
        flat_N.view(-1, plan.chunk).div_(divisor_C1)
        plan.subtract_outer_(flat_N, u_U, vectors_P[rows:])
        return None, *_as_weights(flat_N, plan.sizes, weights)


def _iterate(plan: _Plan, flat_N: Tensor) -> tuple[Tensor, Tensor]:
    """Improve all vectors by one iteration; return them (P,) and the singular values (L,).

    The parts of the v vectors are returned in memory order.
    """
    norms = [layer.norm for layer in plan.layers]
    v_V = torch.cat([norm._v for norm in norms]).index_select(0, plan.memory_V)
    u = plan.multiply(flat_N, v_V)
    vectors_P = torch.cat([*u, *plan.multiply_transposed(flat_N, u)])
    # The vectors do not have length 1 yet: u is W v, and v is W^T W v.
    sections = torch.split(vectors_P, [*plan.rows, *plan.columns])
    lengths_2L = norm_of_each(sections).clamp_min_(EPS)
    vectors_P.div_(lengths_2L.index_select(0, plan.owner_P))
    published_P = vectors_P.index_select(0, plan.published_P)
    copy_each_(
        [*(norm._u for norm in norms), *(norm._v for norm in norms)],
        torch.split(published_P, [*plan.rows, *plan.columns]),
    )
    lengths_u_L, lengths_v_L = lengths_2L.chunk(2)
    return vectors_P, lengths_v_L / lengths_u_L


def _look_up(plan: _Plan, flat_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return all vectors (P,), unchanged, and the singular values (L,).

    The parts of the v vectors are returned in memory order.
    """
    norms = [layer.norm for layer in plan.layers]
    v_V = torch.cat([norm._v for norm in norms]).index_select(0, plan.memory_V)
    u_U = torch.cat([norm._u for norm in norms])
    products_U = torch.cat(plan.multiply(flat_N, v_V)).mul_(u_U)
    return torch.cat([u_U, v_V]), _segment_sums(products_U, plan.rows_L)


def _memory_order(layer: SpectralLayer) -> Tensor:
    """Return, for each column in memory order, its position in the published order."""
    columns = torch.arange(layer.norm._v.numel())
    if layer.norm.transposed:
        return columns
    return columns.view(layer.weight.shape[1:]).permute(1, 2, 0).flatten()


def _in_memory(tensor: Tensor) -> Tensor:
    """View a tensor's elements in channels-last memory order; copy the tensor first if needed."""
    tensor = tensor.contiguous(memory_format=torch.channels_last)
    return tensor.as_strided((tensor.numel(),), (1,))


def _as_weights(
    flat_N: Tensor, sizes: Sequence[int], weights: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Return views of the flat elements with the weights' shapes and layouts."""
    return tuple(
        flat_N.as_strided(weight.shape, weight.stride(), start)
        for weight, start in zip(weights, _starts(sizes), strict=True)
    )


def _segment_sums(terms: Tensor, lengths: Tensor) -> Tensor:
    # `unsafe` skips a check of the lengths that would wait for the device.
    return torch.segment_reduce(terms, "sum", lengths=lengths, unsafe=True)


def _starts(sizes: Sequence[int]) -> list[int]:
    """Return the start of each part in the flat tensor: sizes 3, 4 -> starts 0, 3."""
    return [0, *itertools.accumulate(sizes)][: len(sizes)]
