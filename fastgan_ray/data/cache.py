"""Files in the cache folder that appear whole or not at all."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastgan_ray.errors import UserError

_SUFFIX = ".partial"
_STALE_SECONDS = 24 * 3600


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A new name beside `path` to write to; renamed to `path` when the block succeeds.

    Processes that write one path at once all succeed and the last one stays. An OSError in the
    block (full disk, read-only folder) becomes a UserError; whatever the error, nothing is left.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise UserError(
            f"{path}: the cache folder must be writable and have room ({error}). "
            "Free some space, or set FASTGAN_RAY_CACHE to another folder."
        ) from error
    finally:
        if path.parent.is_dir():
            partial.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what processes killed in the middle left here more than a day ago."""
    for partial in folder.glob(f".*{_SUFFIX}"):
        try:
            if time.time() - partial.stat().st_mtime > _STALE_SECONDS:
                partial.unlink()
        except FileNotFoundError:  # another process swept it, or finished it
            continue
