"""Which form each operation of the networks has on each type of device.

Several of them have more than one form with the same mathematics; only the order of sums differs.
A CPU prefers those that move less memory, a GPU those that launch fewer operators. KERNELS is the
whole choice: `python benchmarks/kernels.py` measures the forms on a device and prints its row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch


class Kernels(NamedTuple):
    """The forms on one type of device."""

    transposed_from: int | None
    """Upsampling before a convolution: side in px from which it is one transposed convolution
    (`upsample`); None: never."""
    fused_glu: bool
    """Gated linear unit: PyTorch's own operator, not the one that keeps channels last (`glu`)."""
    joint_up_to: int
    """Spectral normalisation: elements up to which a network's weights are normalised together
    (`spectral_joint`); larger weights each by itself (`spectral`)."""
    gather_up_to: int
    """Of those normalised together: elements up to which a weight is multiplied in one go with
    weights of other shapes; larger ones only with those of the same shape."""


REFERENCE = "reference"
NO_LIMIT = 2**62
KERNELS: dict[str, Kernels] = {
    # The published forms: `train.precision: fp32`, and counts of operations. Of the gated linear
    # unit both forms are the published one; PyTorch's doubles the time of a step on a CPU.
    REFERENCE: Kernels(None, fused_glu=False, joint_up_to=0, gather_up_to=0),
    # Measured (docs/findings.md).
    "cpu": Kernels(16, fused_glu=False, joint_up_to=2**18, gather_up_to=0),
    # Fewest operators, as a step at batch 8 waits for launches; not measured on a GPU yet.
    "cuda": Kernels(None, fused_glu=True, joint_up_to=NO_LIMIT, gather_up_to=2**18),
    # Has no sums over segments, which the joint form needs.
    "mps": Kernels(None, fused_glu=True, joint_up_to=0, gather_up_to=0),
}
_selected: ContextVar[str | None] = ContextVar("selected", default=None)


def kernels_for(device: torch.device) -> Kernels:
    """Return the selected row of KERNELS, or that of a device's type if none is selected.

    A type of device without a row ("meta") has the reference's.
    """
    return KERNELS.get(_selected.get() or device.type, KERNELS[REFERENCE])


def selected_kernels() -> str | None:
    """Return the name of the row that `use_kernels` selects here, None outside of it."""
    return _selected.get()


@contextmanager
def use_kernels(name: str | None) -> Iterator[None]:
    """Select a row of KERNELS for every device inside; None: each device's row."""
    assert name is None or name in KERNELS, name
    token = _selected.set(name)
    try:
        yield
    finally:
        _selected.reset(token)


@contextmanager
def reference_kernels(wanted: bool = True) -> Iterator[None]:
    """Select the published forms inside, if `wanted`."""
    with use_kernels(REFERENCE if wanted else selected_kernels()):
        yield
