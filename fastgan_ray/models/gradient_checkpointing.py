"""Blocks whose maps are computed again for the gradients instead of being kept: less memory.

Batch normalisation ties the samples of a batch together, so that a batch cannot be split into parts
and have the same gradients. It can be taken block by block: only a block's input is kept, and what
the gradients need is computed again from it (Chen et al. 2016), the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from types import TracebackType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fastgan_ray.models.blocks import DownBlock, UpBlock
from fastgan_ray.models.kernels import selected_kernels, use_kernels
from fastgan_ray.models.spectral import SpectralNorm


def recompute(network: nn.Module) -> None:
    """Have FastGAN's up and down blocks in `network` keep nothing but their inputs.

    A step takes longer by up to the blocks' forward passes. Names and values in the state dict
    stay as they are.
    """
    for module in network.modules():
        if isinstance(module, UpBlock | DownBlock):
            module.forward = partial(_checkpointed, module)  # type: ignore[method-assign]  # of one object


def _checkpointed(block: nn.Module, x_BCHW: Tensor, rng: torch.Generator | None = None) -> Tensor:
    inputs = (x_BCHW, rng) if isinstance(block, UpBlock) else (x_BCHW,)
    compute = partial(type(block).forward, block)
    if not torch.is_grad_enabled():
        result: Tensor = compute(*inputs)
        return result
    before = _remember(block, rng)

    # Whatever a block draws, it draws from `rng`.
    result = checkpoint(
        compute,
        *inputs,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (nullcontext(), _Reentrant(lambda: _as_before(before, rng))),
    )
    return result


class _Before(NamedTuple):
    """What a block's first computation depends on, beside its input and weights."""

    buffers: list[tuple[nn.Module, str, Tensor]]
    normalised: list[tuple[SpectralNorm, Tensor]]  # weights that the whole network has computed
    draws: Tensor | None
    kernels: str | None


def _remember(block: nn.Module, rng: torch.Generator | None) -> _Before:
    normalised = [
        (module, module.current)
        for module in block.modules()
        if isinstance(module, SpectralNorm) and module.current is not None
    ]
    unchanged = {module for module, _ in normalised}
    return _Before(
        buffers=[
            (module, name, buffer.clone())
            for module in block.modules()
            if module not in unchanged
            for name, buffer in module.named_buffers(recurse=False)
        ],
        normalised=normalised,
        draws=None if rng is None else rng.get_state(),
        kernels=selected_kernels(),
    )


class _Reentrant(AbstractContextManager[None]):
    """A context that can be entered again: second derivatives compute a block twice."""

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self._make = make

    def __enter__(self) -> None:
        self._current = self._make()
        self._current.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self._current.__exit__(kind, error, trace)


@contextmanager
def _as_before(before: _Before, rng: torch.Generator | None) -> Iterator[None]:
    """Restore buffers, normalised weights and draws inside; afterwards they are as they were."""
    buffers = [(module, name, getattr(module, name)) for module, name, _ in before.buffers]
    normalised = [(norm, norm.current) for norm, _ in before.normalised]
    draws = None if rng is None else rng.get_state()
    for module, name, buffer in before.buffers:
        setattr(module, name, buffer.clone())  # the gradients may be asked for twice
    for norm, weight in before.normalised:
        norm.current = weight
    if rng is not None and before.draws is not None:
        rng.set_state(before.draws)
    try:
        with use_kernels(before.kernels):
            yield
    finally:
        for module, name, current in buffers:
            setattr(module, name, current)
        for norm, earlier in normalised:
            norm.current = earlier
        if rng is not None and draws is not None:
            rng.set_state(draws)
