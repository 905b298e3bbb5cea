"""One process at a time works on a run's folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from fastgan_ray.errors import UserError


@contextlib.contextmanager
def only_driver(folder: Path) -> Iterator[None]:
    """Hold the run folder's lock; UserError if another process holds it.

    The system releases the lock when its process dies.
    """
    try:
        lock = FileLock(folder / ".lock").acquire(blocking=False)
    except Timeout as error:
        raise UserError(
            f"{folder}: another process is working on this run; stop that one first."
        ) from error
    with lock:
        yield
