"""Lock a run's folder, so that only one process at a time works on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from fastgan_ray.errors import UserError


@contextlib.contextmanager
def only_driver(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder; raise UserError if another process holds it.

    The operating system releases the lock when the process dies.
    """
    try:
        lock = FileLock(folder / ".lock").acquire(blocking=False)
    except Timeout as error:
        raise UserError(
            f"{folder}: another process is working on this run; stop that one first."
        ) from error
    with lock:
        yield
