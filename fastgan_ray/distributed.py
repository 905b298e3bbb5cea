"""Connect the processes that train one generator together, each on a part of every batch.

Every process draws the random numbers for the whole batch, and uses only the rows of its own
samples. So two processes with half a batch each get the same result as one process with the whole
batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor


class PeerFailedError(RuntimeError):
    """The error that a process raises if another process of its group has failed or ended.

    The other process reports the reason.
    """


class Group:
    """A group with a single process, which has the whole batch.

    This class is the base class of other groups.
    """

    rank = 0
    size = 1

    def local_rows(self, rows: Tensor, dim: int = 0) -> Tensor:
        """Return the rows that belong to this process.

        `rows` has a row for each sample of the whole batch, along the dimension `dim`.
        """
        return rows.chunk(self.size, dim)[self.rank]

    def gather(self, rows: Tensor) -> Tensor:
        """Concatenate the rows of all processes, in order of rank; the result is differentiable."""
        return rows

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, in place."""

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is True in at least one process."""
        return flag

    def on_rank_zero(self, work: Callable[[], None]) -> None:
        """Run `work` in the process with rank 0; the other processes wait until `work` ends.

        If `work` raises an exception, the other processes raise PeerFailedError.
        """
        work()


ALONE = Group()


class TorchGroup(Group):
    """The default process group of `torch.distributed`, which must already be initialised."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self._device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")

    def gather(self, rows: Tensor) -> Tensor:
        """Concatenate the rows of all processes, in order of rank; the result is differentiable.

        Each process must pass the same number of rows.
        """
        if self.size == 1:
            return rows
        zeros = torch.zeros_like(rows)
        slots = [rows if rank == self.rank else zeros for rank in range(self.size)]
        return _sum(torch.cat(slots))

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, in place, with one all-reduce."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        _all_reduce(flat)
        parts = torch.split(flat / self.size, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view(tensor.shape))

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is True in at least one process."""
        if self.size == 1:
            return flag
        count = torch.tensor(float(flag), device=self._device)
        _all_reduce(count)
        return bool(count > 0)

    def on_rank_zero(self, work: Callable[[], None]) -> None:
        """Run `work` in the process with rank 0; the other processes wait until `work` ends.

        If `work` raises an exception, the other processes raise PeerFailedError. If the process
        with rank 0 dies without an exception, the other processes wait until the launcher stops
        them.
        """
        size, failure = self.size, None
        if self.rank == 0:
            self.size = 1  # networks of this group now send no messages to the other processes
            try:
                work()
            except Exception as error:
                failure = error
            finally:
                self.size = size
        failed = self.any(failure is not None)
        if failure is not None:
            raise failure
        if failed:
            raise PeerFailedError("the process with rank 0 has failed; see its error message")


class _Sum(torch.autograd.Function):
    """Sum a tensor over the processes; the backward pass sums the gradients in the same way."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, tensor: Tensor) -> Tensor:
        """Return the sum of `tensor` (of any shape) over all processes."""
        total = tensor.clone(memory_format=torch.contiguous_format)
        _all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        """Return the sum of `gradient` over all processes.

        The sum is differentiable, because gradient penalties need second derivatives.
        """
        return _sum(gradient)


def _all_reduce(tensor: Tensor) -> None:
    try:
        dist.all_reduce(tensor)
    except RuntimeError as error:
        raise PeerFailedError(f"another process has ended: {error}") from error


def _sum(tensor: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(tensor)
    return total
