"""Features of the real pictures, computed once for each data set and protocol."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastgan_ray.config.paths import cache_dir
from fastgan_ray.config.schema import DataConfig
from fastgan_ray.data.cache import atomic_file
from fastgan_ray.data.images import in_order, square
from fastgan_ray.data.source import Source
from fastgan_ray.metrics.features import Extractor

_VERSION = 1  # raise it when the same pictures would give other features
_BATCH = 32

Features = npt.NDArray[np.float32]


def reference_features(source: Source, data_config: DataConfig, extractor: Extractor) -> Features:
    """Features (n, d) of the original pictures: no resampling but the extractor's own.

    The same for every trial and resolution, hence cached on disk by content and protocol. A
    cache file that cannot be read is built anew. UserError where the cache cannot be written.
    """
    path = _cache_path(source, data_config, extractor)
    if (cached := _read(path, len(source))) is not None:
        return cached
    batches = _batches(_prepared(source, data_config, extractor))
    features = torch.cat([extractor(batch) for batch in batches]).numpy()
    # A zip archive, because that carries a checksum.
    with atomic_file(path) as partial, partial.open("wb") as file:
        np.savez(file, features=features)
    return features


def _cache_path(source: Source, config: DataConfig, extractor: Extractor) -> Path:
    settings = [
        _VERSION,
        source.digest,
        extractor.name,
        extractor.weights_sha256,
        extractor.resize,
        config.fit,
        config.background.lower(),
    ]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    return cache_dir() / "reference" / f"{key}.npz"


def _read(path: Path, count: int) -> Features | None:
    try:
        # A file of our own, because np.load leaves one that is no archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            features: Features = archive["features"]
            whole = features.shape == (count, features.shape[-1]) and features.dtype == np.float32
    except Exception:  # damaged archives raise nearly every type
        return None
    return features if whole else None


def _prepared(source: Source, config: DataConfig, extractor: Extractor) -> Iterator[Tensor]:
    """Each picture (3, size, size), resized by the thread that decoded it: originals can be big."""

    def prepare(index: int) -> Tensor:
        image = square(source.read(index, config.background), config.fit, config.background)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        return extractor.prepare(pixels[None].float())[0]

    yield from in_order(prepare, len(source))


def _batches(pictures: Iterator[Tensor]) -> Iterator[Tensor]:
    while batch := list(islice(pictures, _BATCH)):
        yield torch.stack(batch)
