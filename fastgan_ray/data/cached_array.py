"""Keep all pictures of a source as one array in the cache."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from fastgan_ray.config.data import CHANNELS, DataConfig
from fastgan_ray.config.paths import cache_dir
from fastgan_ray.data.cache import atomic_file
from fastgan_ray.data.fit import Size, fit_picture
from fastgan_ray.data.source import Source
from fastgan_ray.data.threads import map_in_threads
from fastgan_ray.progress import Track, silently

_VERSION = 2  # increase this number when a change of the code changes the pixels


def load_images(
    source: Source, config: DataConfig, size: Size, track: Track = silently
) -> np.ndarray[Any, Any]:
    """Return all pictures of a source, fitted to `size` (H, W), as a uint8 array (N, H, W, C).

    C is 1 if the source's mode is "grey", 4 if it is "rgba", else 3. The array is a read-only
    memory map of a file in the cache. The first call writes this file; its name is a hash of the
    pictures and settings. All processes on the machine share the file, and several may write it at
    the same time. Raises UserError if the cache cannot be written, or if a picture changed since
    the source was opened.
    """
    background = config.background.lower()
    settings = [_VERSION, source.digest, *size, source.mode, config.fit, background]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    path = cache_dir() / "images" / f"{key}.npy"
    shape = (len(source), *size, CHANNELS[source.mode])
    if (cached := _open_array(path, shape)) is not None:
        return cached

    def pixels(index: int) -> bytes:
        image = source.read(index, config.background)
        return fit_picture(image, config.fit, config.background, size).tobytes()

    with atomic_file(path) as partial, partial.open("wb") as file:
        # Write without a memory map: a full disk then raises an error instead of SIGBUS.
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for row in map_in_threads(pixels, len(source), track, "shrinking pictures"):
            file.write(row)
    array = _open_array(path, shape)
    assert array is not None
    return array


def _open_array(path: Path, shape: tuple[int, ...]) -> np.ndarray[Any, Any] | None:
    """Return the cached array, or None if it is missing or incomplete."""
    try:
        array: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None
