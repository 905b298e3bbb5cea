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
    joint_spectral: bool
    """Spectral normalisation: all weights of a network at once (`spectral_joint`), not each one
    by itself (`spectral`)."""
    gather_up_to: int
    """Joint spectral normalisation: elements up to which a weight is multiplied together with
    those of other shapes; larger weights only with those of the same shape."""


REFERENCE = "reference"
KERNELS: dict[str, Kernels] = {
    # The published forms: `train.precision: fp32`, and counts of operations.
    REFERENCE: Kernels(None, fused_glu=False, joint_spectral=False, gather_up_to=0),
    # Measured (docs/findings.md): 1.3 to 2.4 times as fast from 16 px up in 47 of 48 combinations
    # of width, format and layout, .24 to 1.3 times at 4 and 8 px.
    "cpu": Kernels(16, fused_glu=False, joint_spectral=False, gather_up_to=0),
    # Fewest operators, as a step at batch 8 waits for launches; not measured on a GPU yet.
    "cuda": Kernels(None, fused_glu=True, joint_spectral=True, gather_up_to=2**18),
    # Has no sums over segments, which the joint form needs.
    "mps": Kernels(None, fused_glu=True, joint_spectral=False, gather_up_to=0),
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
