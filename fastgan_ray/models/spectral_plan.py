"""Define the order and the index tensors with which `spectral_joint` normalises many weights.

There are L weights. In total, they have N elements, U rows and V columns; P is U + V. The last
letter of a tensor's name is its size, so `flat_N` has N elements.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fastgan_ray.models.spectral import SpectralLayer


class _Shape(NamedTuple):
    """The shape of a layer's weight as the matrix that spectral normalisation uses."""

    rows: int
    columns: int
    transposed: bool  # the matrix is stored in memory with columns before rows

    @classmethod
    def of(cls, layer: SpectralLayer) -> _Shape:
        return cls(layer.norm._u.numel(), layer.norm._v.numel(), layer.norm.transposed)


class _Batch(NamedTuple):
    """Weights with the same shape, and their positions in the tensors of all weights."""

    shape: _Shape
    size: int
    elements: slice  # positions among the N elements
    rows: slice  # positions among the U rows
    columns: slice  # positions among the V columns

    def matrices(self, flat_N: Tensor) -> Tensor:
        """Return a view (size, rows, columns) of the batch's weights, one matrix per weight."""
        rows, columns, transposed = self.shape
        if transposed:
            return flat_N[self.elements].view(self.size, columns, rows).mT
        return flat_N[self.elements].view(self.size, rows, columns)


class Plan:
    """The order in which weights are normalised together, and the index tensors for this.

    A plan is built once and used for all normalisations. The small weights come first. These have
    at most `gather_up_to` elements, and do not belong to transposed convolutions. `small`
    multiplies all of them in one operation. The other weights follow, in `batches` of weights with
    the same shape.
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
        """Create the index tensors on `device`.

        The columns of a weight have one order in memory, and another in PyTorch's spectral
        normalisation. `memory_V` converts vectors to the order in memory, and `published_P` to
        PyTorch's order. The tensors named `owner` say to which weight a row, a column or a chunk
        belongs. A chunk is `chunk` consecutive elements of the flat tensor, all of the same weight.
        """
        number = torch.arange(len(self.layers), dtype=torch.int32)
        rows, columns = torch.tensor(self.rows), torch.tensor(self.columns)
        owner_U = number.repeat_interleave(rows)
        owner_V = number.repeat_interleave(columns)
        chunks = torch.tensor(self.sizes) // self.chunk
        memory_V = torch.cat(
            [
                start + _memory_order(layer)
                for layer, start in zip(self.layers, starts(self.columns), strict=True)
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
        """Return whether all weights are channels-last in memory, which the plan requires."""
        last = torch.channels_last
        return all(layer.weight.is_contiguous(memory_format=last) for layer in self.layers)

    def multiply(self, flat_N: Tensor, v_V: Tensor) -> list[Tensor]:
        """Multiply each weight, as a matrix, by its vector v.

        `flat_N` has the elements of all weights, and `v_V` has their vectors v. Return one vector
        for each weight: the product of its matrix and its v.
        """
        products = [self.small.multiply(flat_N, v_V)] if self.small else []
        for batch in self.batches:
            v = v_V[batch.columns].view(batch.size, -1, 1)
            products.append(torch.bmm(batch.matrices(flat_N), v).view(-1))
        return products

    def multiply_transposed(self, flat_N: Tensor, u: Sequence[Tensor]) -> list[Tensor]:
        """Multiply the transpose of each weight, as a matrix, by its vector u.

        `u` is a result of `multiply`. The results are vectors with V elements in total.
        """
        products, u_of_batches = [], list(u)
        if self.small:
            products.append(self.small.multiply_transposed(flat_N, u_of_batches.pop(0)))
        for batch, u_batch in zip(self.batches, u_of_batches, strict=True):
            matrices = batch.matrices(flat_N).mT
            products.append(torch.bmm(matrices, u_batch.view(batch.size, -1, 1)).view(-1))
        return products

    def subtract_outer_(self, flat_N: Tensor, u_U: Tensor, v_V: Tensor) -> None:
        """Subtract the outer product of u and v from each weight in `flat_N`, in place.

        `u_U` and `v_V` have the vectors of all weights.
        """
        if self.small:
            self.small.subtract_outer_(flat_N, u_U, v_V)
        for batch in self.batches:
            u = u_U[batch.rows].view(batch.size, -1, 1)
            v = v_V[batch.columns].view(batch.size, 1, -1)
            batch.matrices(flat_N).addcmul_(u, v, value=-1)


class _Small:
    """Multiplies many small matrices of any shapes, each by its own vector, in one operation.

    The matrices have S elements in total. `column_S` has the index of each element's column. Each
    element is multiplied by the vector's entry with this index, and then the products of each row
    are summed. For the transposes, `row_S` is used in the same way.
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
                for shape, start in zip(shapes, starts(columns.tolist()), strict=True)
            ]
        )
        self.row_S, self.column_S = row_S.int().to(device), column_S.int().to(device)
        self.by_column_S = column_S.argsort(stable=True).int().to(device)
        self.lengths_U = lengths_U.to(device)
        self.lengths_V = rows.repeat_interleave(columns).to(device)

    def multiply(self, flat_N: Tensor, v_V: Tensor) -> Tensor:
        terms_S = v_V.index_select(0, self.column_S).mul_(flat_N[: self.size])
        return segment_sums(terms_S, self.lengths_U)

    def multiply_transposed(self, flat_N: Tensor, u_U: Tensor) -> Tensor:
        terms_S = u_U.index_select(0, self.row_S).mul_(flat_N[: self.size])
        return segment_sums(terms_S.index_select(0, self.by_column_S), self.lengths_V)

    def subtract_outer_(self, flat_N: Tensor, u_U: Tensor, v_V: Tensor) -> None:
        u_S, v_S = u_U.index_select(0, self.row_S), v_V.index_select(0, self.column_S)
        flat_N[: self.size].addcmul_(u_S, v_S, value=-1)


def _memory_order(layer: SpectralLayer) -> Tensor:
    """List the columns of a weight in their order in memory, as indices into PyTorch's matrix."""
    columns = torch.arange(layer.norm._v.numel())
    if layer.norm.transposed:
        return columns
    return columns.view(layer.weight.shape[1:]).permute(1, 2, 0).flatten()


def segment_sums(terms: Tensor, lengths: Tensor) -> Tensor:
    """Sum consecutive segments of the vector `terms`.

    `lengths` has the length of each segment. Returns a vector with the sum of each segment.
    """
    # `unsafe` skips a check of the lengths that would wait for the device.
    return torch.segment_reduce(terms, "sum", lengths=lengths, unsafe=True)


def starts(sizes: Sequence[int]) -> list[int]:
    """Return the start of each part, if consecutive parts have these sizes: [3, 4] -> [0, 3]."""
    return [0, *itertools.accumulate(sizes)][: len(sizes)]
