"""Compare two halves of a data set, and cache the result."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from fastgan_ray.config.data import DataConfig
from fastgan_ray.config.paths import cache_dir
from fastgan_ray.data.cache import atomic_file
from fastgan_ray.data.source import Source
from fastgan_ray.metrics.extractors import load_extractor
from fastgan_ray.metrics.halves import SMALLEST, Halves, half_against_half
from fastgan_ray.metrics.reference import Features, reference_features
from fastgan_ray.progress import Track, silently

NETWORK = "efficientnet_lite0"
"""The feature network, which is inside the package and needs no download."""
_VERSION = 1  # increase this number when a change of the code changes the numbers


def embedded_features(
    source: Source, config: DataConfig, track: Track = silently
) -> tuple[Features, Features]:
    """Compute features with the network inside the package, on the CPU.

    Returns two arrays (n, d): the features of the pictures, and the features of the mirror images.
    """
    extractor = load_extractor(NETWORK, torch.device("cpu"), config.background)
    features = reference_features(source, config, extractor, track=track)
    mirrored = reference_features(source, config, extractor, mirrored=True, track=track)
    return features, mirrored


def self_distance(source: Source, config: DataConfig, track: Track = silently) -> Halves | None:
    """Return the distances between two random halves of the pictures, from the cache if possible.

    Return None if the number of pictures is below SMALLEST.
    """
    if len(source) < SMALLEST:
        return None
    if (known := known_self_distance(source, config)) is not None:
        return known
    halves = half_against_half(*embedded_features(source, config, track))
    with atomic_file(_path(source, config)) as draft:
        draft.write_text(json.dumps(halves), encoding="utf-8")
    return halves


def known_self_distance(source: Source, config: DataConfig) -> Halves | None:
    """Return the cached result of `self_distance`, or None if the cache has no result."""
    try:
        stored = json.loads(_path(source, config).read_text(encoding="utf-8"))
        return Halves(int(stored[0]), *map(float, stored[1:]))
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return None


def _path(source: Source, config: DataConfig) -> Path:
    background = config.background.lower()
    settings = [_VERSION, NETWORK, source.digest, source.mode, config.fit, background]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    return cache_dir() / "halves" / f"{key}.json"
