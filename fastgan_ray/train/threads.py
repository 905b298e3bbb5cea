"""Set the number of CPU threads to the number in the configuration, in every command.

By default, PyTorch and NumPy use a thread for each core of the machine. This has two disadvantages.
The number of threads affects the rounding of sums, so results depend on the machine. And if other
programs use the cores, threads mostly wait for each other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from threadpoolctl import threadpool_limits

from fastgan_ray.config.resources import ResourcesConfig


@contextlib.contextmanager
def cpu_threads(resources: ResourcesConfig) -> Iterator[None]:
    """Use `resources.cpus` CPU threads, but at least one, within this context.

    This applies to PyTorch. It also applies to the linear algebra of NumPy and SciPy, which
    computes the metrics.
    """
    before, count = torch.get_num_threads(), thread_count(resources)
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


def thread_count(resources: ResourcesConfig) -> int:
    """Return the number of CPU threads of one worker, which is at least 1."""
    return max(1, int(resources.cpus))
