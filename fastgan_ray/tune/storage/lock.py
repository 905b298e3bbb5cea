"""One process at a time works on a run's folder."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from fastgan_ray.errors import UserError


@contextlib.contextmanager
def only_driver(folder: Path) -> Iterator[None]:
    """Hold the run folder's lock; UserError if another process runs this experiment."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{folder}: another process is running this already; end that one first."
            ) from error
        yield
