"""Processes that train one generator together, each on its share of every batch.

All of them draw what a single process would draw for the whole batch, and keep the rows that are
theirs: so two processes with half a batch each do what one does with the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor


class PeerFailedError(RuntimeError):
    """Another process of the group has failed, and says why; or it is gone."""


class Group:
    """The trivial group: one process, which has the whole batch."""

    rank = 0
    size = 1

    def local_rows(self, rows: Tensor, dim: int = 0) -> Tensor:
        """This process's rows of something that has one for each sample of the whole batch."""
        return rows.chunk(self.size, dim)[self.rank]

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in the order of their ranks; differentiable."""
        return rows

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes."""

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in one of the processes."""
        return flag

    def on_rank_zero(self, work: Callable[[], None]) -> None:
        """Do `work` in the first process, which is alone meanwhile; the others wait.

        PeerFailedError in the others if it raises there.
        """
        work()


ALONE = Group()


class TorchGroup(Group):
    """The processes of `torch.distributed`'s default group, which somebody has begun."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self._device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")

    def gather(self, rows: Tensor) -> Tensor:
        """As `Group.gather`, of equally many rows in each process."""
        if self.size == 1:
            return rows
        nothing = torch.zeros_like(rows)
        slots = [rows if rank == self.rank else nothing for rank in range(self.size)]
        return _sum(torch.cat(slots))

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """As `Group.average_`, in one message."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        _all_reduce(flat)
        parts = torch.split(flat / self.size, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view(tensor.shape))

    def any(self, flag: bool) -> bool:
        """As `Group.any`."""
        if self.size == 1:
            return flag
        count = torch.tensor(float(flag), device=self._device)
        _all_reduce(count)
        return bool(count > 0)

    def on_rank_zero(self, work: Callable[[], None]) -> None:
        """As `Group.first`. What dies without an exception is left to whoever began the group."""
        size, failure = self.size, None
        if self.rank == 0:
            self.size = 1  # networks that know this group act for themselves
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
            raise PeerFailedError("the first process of the group has failed, and says why")


class _Sum(torch.autograd.Function):
    """The sum over processes. Each one's summand is in every one's sum: so with the gradients."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, tensor: Tensor) -> Tensor:
        """Any shape."""
        total = tensor.clone(memory_format=torch.contiguous_format)
        _all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        """Differentiable itself, as gradient penalties need it."""
        return _sum(gradient)


def _all_reduce(tensor: Tensor) -> None:
    try:
        dist.all_reduce(tensor)
    except RuntimeError as error:
        raise PeerFailedError(f"a process of the group is gone: {error}") from error


def _sum(tensor: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(tensor)
    return total
