"""Where the cache is."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the folder of decoded pictures, reference features and network weights.

    `FASTGAN_RAY_CACHE` if set, else `fastgan-ray` in the user's cache folder. Not created here.
    """
    if folder := os.environ.get("FASTGAN_RAY_CACHE"):
        return Path(folder).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fastgan-ray"
