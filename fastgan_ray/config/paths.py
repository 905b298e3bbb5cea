"""The path of the cache folder."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the cache folder: decoded pictures, reference features and network weights.

    This is `FASTGAN_RAY_CACHE` if the variable is set, else `fastgan-ray` in the user's cache
    folder. The function does not create the folder.
    """
    if folder := os.environ.get("FASTGAN_RAY_CACHE"):
        return Path(folder).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fastgan-ray"
