"""Limit the size of a picture file, because the whole file is read into memory."""

from __future__ import annotations

MAX_BYTES = 256 * 2**20


def check_bytes(size: int) -> None:
    """Raise ValueError if `size`, the bytes of a file or archive entry, is above MAX_BYTES."""
    if size > MAX_BYTES:
        raise ValueError(
            f"the file has {size:,} bytes, more than the limit of {MAX_BYTES:,}: shrink it first"
        )
