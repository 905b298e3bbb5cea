"""Compute the features of the real pictures, and cache the features on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastgan_ray.config.data import DataConfig
from fastgan_ray.config.paths import cache_dir
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.cache import atomic_file
from fastgan_ray.data.fit import Size, fit_picture
from fastgan_ray.data.grid import to_pixels
from fastgan_ray.data.sets import PictureSets
from fastgan_ray.data.source import Source
from fastgan_ray.data.threads import map_in_threads
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.extractors import Extractor
from fastgan_ray.progress import Track, silently

_VERSION = 2  # increase this number when a change of the code changes the features
_BATCH = 32
SQUARE = (1, 1)
# If a picture is computed in another batch, rounding may change its features by up to this share
# of the largest feature.
_ALIKE = 1e-4

Features = npt.NDArray[np.float32]


class Reference(NamedTuple):
    """Features of the reference pictures: metrics compare generated pictures with these pictures.

    `features` (n, d) are the features of the pictures. `mirrored` (n, d) are the features of the
    mirror images, or None if the run does not need them. If the reference pictures are held out,
    `training` has the features of the training pictures. Otherwise, `training` is None, because the
    reference pictures contain the training pictures.
    """

    features: Features
    mirrored: Features | None
    training: Reference | None = None


def load_sets(
    sets: PictureSets, config: RunConfig, extractor: Extractor, track: Track = silently
) -> Reference:
    """Load the features of the reference pictures.

    If the reference pictures are held out, the features of the training pictures are also loaded.
    Raises UserError like `load_reference`.
    """
    reference = load_reference(sets.reference, config, extractor, track)
    if not sets.held_out:
        return reference
    return reference._replace(training=load_reference(sets.pool, config, extractor, track))


def load_reference(
    source: Source, config: RunConfig, extractor: Extractor, track: Track = silently
) -> Reference:
    """Load the features of the pictures in `source`, and of the mirror images if a run needs them.

    A run needs the mirror images if `data.flip` is above 0 or `eval.mirrored_reference` is true.
    Raises UserError if all pictures have the same features, because metrics need different
    pictures.
    """
    shape = config.model.proportions
    features = reference_features(source, config.data, extractor, shape, track=track)
    if np.abs(features - features[0]).max() <= _ALIKE * np.abs(features).max():
        raise UserError(
            f"{source.path}: at least 2 different pictures are needed, but all "
            f"{len(source)} have the same features"
        )
    if config.data.flip == 0 and not config.eval.mirrored_reference:
        return Reference(features, None)
    mirrored = reference_features(source, config.data, extractor, shape, True, track)
    gaps = [np.abs(features - first).max(axis=1) for first in (features[0], mirrored[0])]
    if config.data.flip > 0 and np.min(gaps, axis=0).max() <= _ALIKE * np.abs(features).max():
        raise UserError(
            f"{source.path}: at least 2 different pictures are needed, but all {len(source)} are "
            "alike or mirror images of each other (data.flip is above 0)"
        )
    return Reference(features, mirrored)


def reference_features(
    source: Source,
    data_config: DataConfig,
    extractor: Extractor,
    proportions: Size = SQUARE,
    mirrored: bool = False,
    track: Track = silently,
) -> Features:
    """Compute the features (n, d) of all pictures in `source`, or of their mirror images.

    `mirrored` chooses the mirror images (left to right). Each picture gets the `proportions`
    (height, width), in the way that `data_config.fit` says. The pictures are not resized to the
    trial's resolution, so the features do not depend on this resolution. The features are cached on
    disk. The name of the cache file is a hash of the pictures' content and of the settings that
    affect the features. If the file cannot be read, the features are computed again. Raises
    UserError if the file cannot be written.
    """
    path = _cache_path(source, data_config, extractor, proportions, mirrored)
    if (cached := _read(path, len(source))) is not None:
        return cached
    prepared = _prepared(source, data_config, extractor, proportions, mirrored, track)
    batches = _batches(prepared)
    features = torch.cat([extractor.of_prepared(batch) for batch in batches]).cpu().numpy()
    # The file is a zip archive, because zip has checksums.
    with atomic_file(path) as partial, partial.open("wb") as file:
        np.savez(file, features=features)
    return features


def _cache_path(
    source: Source, config: DataConfig, extractor: Extractor, proportions: Size, mirrored: bool
) -> Path:
    settings = [
        _VERSION,
        source.digest,
        extractor.name,
        extractor.weights_sha256,
        extractor.resize,
        source.mode,
        proportions,
        config.fit,
        config.background.lower(),
        mirrored,
        torch.get_num_threads(),  # changes the rounding of the features
    ]
    if extractor.picture_px is not None:
        settings.append("resized once")  # earlier versions resized these pictures twice
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    return cache_dir() / "reference" / f"{key}.npz"


def _read(path: Path, count: int) -> Features | None:
    try:
        # `np.load(path)` would not close a file that is not an archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            features: Features = archive["features"]
            valid = features.shape == (count, features.shape[-1]) and features.dtype == np.float32
    except Exception:  # damaged archives raise nearly every type of error
        return None
    return features if valid else None


def _prepared(
    source: Source,
    config: DataConfig,
    extractor: Extractor,
    proportions: Size,
    mirrored: bool,
    track: Track,
) -> Iterator[Tensor]:
    """Prepare pictures in several threads; yield each as the extractor's input (3, size, size)."""

    def prepare(index: int) -> Tensor:
        background = config.background
        original = source.read(index, background)
        pixels = to_pixels(fit_picture(original, config.fit, background, proportions, True))
        if mirrored:
            pixels = pixels.flip(-1)
        return extractor.prepare(pixels[None].float())[0]

    doing = "features of mirror images" if mirrored else "features of real pictures"
    yield from map_in_threads(prepare, len(source), track, doing)


def _batches(pictures: Iterator[Tensor]) -> Iterator[Tensor]:
    while batch := list(islice(pictures, _BATCH)):
        yield torch.stack(batch)
