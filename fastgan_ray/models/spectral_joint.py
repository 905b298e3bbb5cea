"""Apply spectral normalisation to all weights of a network at once, with few operators.

All weights are copied into one flat tensor. Weights with the same shape are next to each other and
are multiplied by their vectors as one batch of matrices. Small weights of any shapes are multiplied
element by element. Norms, divisions and gradients are computed on the flat tensor. The module
`spectral` normalises weights one by one; its results differ only by rounding.

The last letter of a tensor's name is its size. There are L weights. In total, they have N elements,
U rows and V columns. Each weight has two singular vectors: u has an entry for each row, and v for
each column. A tensor of size P = U + V has all vectors u, and then all vectors v. `spectral_plan`
has the order of the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fastgan_ray.models.kernels import kernels_for
from fastgan_ray.models.spectral import EPS, SpectralLayer, full_precision, spectral_layers
from fastgan_ray.models.spectral_plan import Plan, segment_sums, starts
from fastgan_ray.torch_compat import copy_each_, norm_of_each


class JointSpectralNorm:
    """Normalises the weights of all convolutions in `modules` at once.

    Code within a context of the method `normalised` must call all these convolutions.
    """

    def __init__(self, *modules: nn.Module) -> None:
        self._modules = modules
        self._layers: list[SpectralLayer] | None = None
        self._plans: dict[tuple[torch.device, int, int], Plan | None] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> JointSpectralNorm:
        """Return a copy that normalises the weights in copies of the modules."""
        return JointSpectralNorm(*(copy.deepcopy(module, memo) for module in self._modules))

    @contextmanager
    def normalised(self) -> Iterator[None]:
        """Normalise the weights together at the start of this context, for all uses within it.

        In training mode, this improves the singular vectors by one power iteration. Only weights
        with at most `joint_up_to` elements (see `kernels.KERNELS`) are normalised together. If one
        of these is not channels-last, nothing is normalised together. All other weights are
        normalised by `spectral`, one by one, at each use.
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

    def _plan(self) -> Plan | None:
        """Return the plan for the weights' device; None if each weight is normalised separately."""
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
            self._plans[key] = Plan(layers, kernels.gather_up_to, device) if layers else None
        plan = self._plans[key]
        return plan if plan is not None and plan.is_channels_last() else None


class _Normalise(torch.autograd.Function):
    """Divides each weight W by its largest singular value u W v; u and v get no gradient."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, *weights: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401 - autograd has no type
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
        plan: Plan = ctx.plan
        normalised_N, vectors_P, values_L, divisor_C1 = ctx.saved_tensors
        weights = [layer.weight for layer in plan.layers]
        flat_N = torch.cat(
            [
                _in_memory(torch.zeros_like(weight) if gradient is None else gradient)
                for weight, gradient in zip(weights, gradients, strict=True)
            ]
        )
        chunks_CK = (flat_N * normalised_N).view(-1, plan.chunk)
        dots_L = segment_sums(chunks_CK.sum(1), plan.chunks_L).div_(values_L)
        rows = len(plan.owner_U)
        u_U = dots_L.index_select(0, plan.owner_U).mul_(vectors_P[:rows])
        flat_N.view(-1, plan.chunk).div_(divisor_C1)
        plan.subtract_outer_(flat_N, u_U, vectors_P[rows:])
        return None, *_as_weights(flat_N, plan.sizes, weights)


def _iterate(plan: Plan, flat_N: Tensor) -> tuple[Tensor, Tensor]:
    """Improve all vectors u and v by one power iteration.

    Returns the vectors (P,) and the singular values (L,). The elements of each vector v are in the
    order of the weight's columns in memory.
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


def _look_up(plan: Plan, flat_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return the unchanged vectors u and v (P,), and the singular values (L,).

    The elements of each vector v are in the order of the weight's columns in memory.
    """
    norms = [layer.norm for layer in plan.layers]
    v_V = torch.cat([norm._v for norm in norms]).index_select(0, plan.memory_V)
    u_U = torch.cat([norm._u for norm in norms])
    products_U = torch.cat(plan.multiply(flat_N, v_V)).mul_(u_U)
    return torch.cat([u_U, v_V]), segment_sums(products_U, plan.rows_L)


def _in_memory(tensor: Tensor) -> Tensor:
    """Return the elements of a tensor as a vector in channels-last order.

    The vector is a view if the tensor is channels-last, else a copy.
    """
    tensor = tensor.contiguous(memory_format=torch.channels_last)
    return tensor.as_strided((tensor.numel(),), (1,))


def _as_weights(
    flat_N: Tensor, sizes: Sequence[int], weights: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Return views of the parts of `flat_N`, one for each weight.

    `sizes` has the number of elements of each weight. A view has the weight's shape and strides.
    """
    return tuple(
        flat_N.as_strided(weight.shape, weight.stride(), start)
        for weight, start in zip(weights, starts(sizes), strict=True)
    )
