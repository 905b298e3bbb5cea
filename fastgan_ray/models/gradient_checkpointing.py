"""Save memory by gradient checkpointing (Chen et al. 2016).

Each block stores only its input, and not its feature maps. The backward pass computes the block
again from this input. All results are the same, bit for bit, as without checkpointing. Another way
to save memory is to split a batch into parts. Splitting would change the results, because batch
normalisation depends on the batch.
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


def checkpoint_gradients(network: nn.Module) -> None:
    """Make the blocks `UpBlock` and `DownBlock` in `network` store only their inputs.

    A training step then takes longer, because these blocks are computed again for the gradients.
    The names and values in the state dict do not change.
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

    # A block draws all its random numbers from `rng`, so PyTorch need not restore its own state.
    result = checkpoint(
        compute,
        *inputs,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (nullcontext(), _Reentrant(lambda: _as_before(before, rng))),
    )
    return result


class _Before(NamedTuple):
    """What affects a block's output besides its input and weights, e.g. buffers.

    This state is copied before the first computation of the block. With the copy, the second
    computation has the same result.
    """

    buffers: list[tuple[nn.Module, str, Tensor]]
    normalised: list[tuple[SpectralNorm, Tensor]]  # weights from `spectral_joint`
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
    """A context manager that can be entered again after its end.

    `make` creates a new context each time. For second derivatives, PyTorch recomputes a block
    twice, and enters the same context manager both times.
    """

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
    """Within this context, set the state of a block to `before`; at the end, undo this.

    `rng` is the random number generator of the noise, or None.
    """
    buffers = [(module, name, getattr(module, name)) for module, name, _ in before.buffers]
    normalised = [(norm, norm.current) for norm, _ in before.normalised]
    draws = None if rng is None else rng.get_state()
    for module, name, buffer in before.buffers:
        setattr(module, name, buffer.clone())  # the gradients may be computed twice
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
