"""Write files of the cache: each is complete or does not exist."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastgan_ray.errors import UserError

_SUFFIX = ".partial"
_STALE_SECONDS = 24 * 3600
_BLOCK = 2**20


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` when the block succeeds.

    Several processes may write one path at the same time; the last one wins. An OSError in the
    block (full disk, read-only folder) becomes a UserError. Any error removes the temporary file.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path.parent)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error}). The cache folder must be writable and have "
            "free space: free some, or set FASTGAN_RAY_CACHE to another folder."
        ) from error
    finally:
        if path.parent.is_dir():
            partial.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Compute the sha256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _remove_stale(folder: Path) -> None:
    """Remove temporary files that killed processes left here more than a day ago."""
    for partial in folder.glob(f".*{_SUFFIX}"):
        try:
            if time.time() - partial.stat().st_mtime > _STALE_SECONDS:
                partial.unlink()
        except FileNotFoundError:  # another process removed or finished it
            continue
