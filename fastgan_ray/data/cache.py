"""Write files of the cache atomically: each file is complete or does not exist."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastgan_ray.errors import UserError
from fastgan_ray.files import atomic

_BLOCK = 2**20


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield the path of a draft file next to `path`; rename it to `path` after the `with` block.

    If the block raises an error, the draft is removed and `path` stays as it was. An OSError (full
    disk, read-only folder) becomes a UserError. Several processes may write the same path at the
    same time. The file of the process that finishes last remains.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path, shared=True) as draft:
            yield draft
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error}). The cache folder must be writable and have "
            "free space. Free some space, or set FASTGAN_RAY_CACHE to another folder."
        ) from error


def file_sha256(path: Path) -> str:
    """Compute the sha256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
