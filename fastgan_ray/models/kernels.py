"""Choose, for each type of device, the faster of two implementations of an operation.

Several operations of the networks have two implementations. Their results differ only by rounding.
On a CPU, the implementation that moves less memory is faster. On a GPU, the one that launches fewer
operators is faster. KERNELS has the choice for each type of device. `python benchmarks/kernels.py`
measures the implementations on a device, and prints the entry of KERNELS for this device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch


class Kernels(NamedTuple):
    """The implementations of operations that the networks use on one type of device."""

    transposed_from: int | None
    """The smallest width of a map, in px, at which upsampling and convolution are computed as one
    transposed convolution (see `upsample`). If it is None, they are always two operations.
    """
    fused_glu: bool
    """Use PyTorch's gated linear unit instead of the one in `glu`."""
    joint_up_to: int
    """Weights with at most this many elements are spectrally normalised together
    (`spectral_joint`); larger weights are normalised one by one (`spectral`)."""
    gather_up_to: int
    """In joint normalisation, weights with at most this many elements are all multiplied by their
    vectors in one operation. Larger weights are multiplied together only if they have the same
    shape.
    """


REFERENCE = "reference"
NO_LIMIT = 2**62
KERNELS: dict[str, Kernels] = {
    # The published forms, for `train.precision: fp32` and to count operations. Both forms of the
    # gated linear unit give the published result; PyTorch's form doubles a step's time on a CPU.
    REFERENCE: Kernels(None, fused_glu=False, joint_up_to=0, gather_up_to=0),
    # Chosen by measurements (docs/findings.md).
    "cpu": Kernels(16, fused_glu=False, joint_up_to=2**18, gather_up_to=0),
    # Use the fewest operators, because a step at batch 8 waits for launches. Not yet measured.
    "cuda": Kernels(None, fused_glu=True, joint_up_to=NO_LIMIT, gather_up_to=2**18),
    # The joint form needs sums over segments, which MPS does not have.
    "mps": Kernels(None, fused_glu=True, joint_up_to=0, gather_up_to=0),
}
_selected: ContextVar[str | None] = ContextVar("selected", default=None)


def kernels_for(device: torch.device) -> Kernels:
    """Return the entry of KERNELS to use on `device`.

    If `use_kernels` has selected an entry, this entry is returned. Otherwise, the entry of the
    device's type is returned. A type without an entry, such as "meta", uses the entry REFERENCE.
    """
    return KERNELS.get(_selected.get() or device.type, KERNELS[REFERENCE])


def selected_kernels() -> str | None:
    """Return the key of KERNELS that `use_kernels` has selected; None if none is selected."""
    return _selected.get()


@contextmanager
def use_kernels(name: str | None) -> Iterator[None]:
    """Use the entry `name` of KERNELS for all devices within this context.

    If `name` is None, each device uses the entry of its type.
    """
    assert name is None or name in KERNELS, name
    token = _selected.set(name)
    try:
        yield
    finally:
        _selected.reset(token)


@contextmanager
def reference_kernels(enabled: bool = True) -> Iterator[None]:
    """Within this context, compute the networks' operations as the published code does.

    If `enabled` is False, the context has no effect.
    """
    with use_kernels(REFERENCE if enabled else selected_kernels()):
        yield
