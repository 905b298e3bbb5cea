"""Stages whose maps are computed again for the gradients instead of being kept: less memory.

Batch normalisation ties the samples of a batch together, so that a batch cannot be taken in parts
and have the same gradients. It can be taken in stages: of each, only what went in is kept, and
what the gradients need is made again from that (Chen et al. 2016), the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fastgan_ray.models.blocks import DownBlock, UpBlock
from fastgan_ray.models.kernels import selected_kernels, use_kernels

_Buffers = list[tuple[nn.Module, str, Tensor]]


def recompute(network: nn.Module) -> None:
    """Have FastGAN's up and down blocks in `network` keep nothing but what goes into them.

    A step takes longer by up to the blocks' forward passes. Names and values in the state dict
    stay as they are.
    """
    for module in network.modules():
        if isinstance(module, UpBlock | DownBlock):
            module.forward = partial(_stage, module)  # type: ignore[method-assign]  # of one object


def _stage(block: nn.Module, x_BCHW: Tensor, rng: torch.Generator | None = None) -> Tensor:
    inputs = (x_BCHW, rng) if isinstance(block, UpBlock) else (x_BCHW,)
    compute = partial(type(block).forward, block)
    if not torch.is_grad_enabled():
        result: Tensor = compute(*inputs)
        return result
    before = [
        (module, name, buffer.clone())
        for module in block.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    drawn = None if rng is None else rng.get_state()
    kernels = selected_kernels()

    # Whatever a block draws, it draws from `rng`.
    result = checkpoint(
        compute,
        *inputs,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (nullcontext(), _Again(lambda: _as_before(before, rng, drawn, kernels))),
    )
    return result


class _Again(AbstractContextManager[None]):
    """A context that can be entered again, as second derivatives have a block computed twice."""

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
def _as_before(
    before: _Buffers, rng: torch.Generator | None, drawn: Tensor | None, kernels: str | None
) -> Iterator[None]:
    """Inside, buffers and draws are those of the first time; they are as they were afterwards."""
    now = [(module, name, getattr(module, name)) for module, name, _ in before]
    drawn_since = None if rng is None else rng.get_state()
    for module, name, buffer in before:
        setattr(module, name, buffer.clone())  # the gradients may be asked for twice
    if rng is not None and drawn is not None:
        rng.set_state(drawn)
    try:
        with use_kernels(kernels):
            yield
    finally:
        for module, name, current in now:
            setattr(module, name, current)
        if rng is not None and drawn_since is not None:
            rng.set_state(drawn_since)
