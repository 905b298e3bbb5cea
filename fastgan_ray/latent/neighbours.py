"""The training pictures that generated ones are most like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastgan_ray.config.override import override
from fastgan_ray.config.run_config import ModelConfig, RunConfig
from fastgan_ray.data.containers import printable
from fastgan_ray.data.fit import fit_to_square
from fastgan_ray.data.grid import save_grid, to_tensor, to_uint8
from fastgan_ray.data.source import Source
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.extractors import Extractor
from fastgan_ray.metrics.memorisation import Neighbours, neighbours
from fastgan_ray.metrics.reference import load_reference
from fastgan_ray.progress import Track, silently

_BATCH = 16


def settings(
    model: ModelConfig, stored: RunConfig | None, overrides: Mapping[str, Any]
) -> RunConfig:
    """The data and feature network to compare by: the run's own, but for `overrides`."""
    config = override(stored or RunConfig(model=model), overrides)
    if config.data.path is None:
        raise UserError("the checkpoint names no data set to look for neighbours in; give --data")
    return config


def nearest_pictures(
    samples_NCHW: Tensor,
    source: Source,
    config: RunConfig,
    extractor: Extractor,
    count: int,
    track: Track = silently,
) -> Neighbours:
    """The training pictures nearest to samples in [-1, 1], in the extractor's features.

    A distance of 1 is the mean from a training picture to its nearest other one. Mirror images
    count where the run trains on them. UserError where no such mean exists.
    """
    reference = load_reference(source, config, extractor, track)
    # As a file would hold them: so were the reference's.
    stored_NCHW = to_uint8(samples_NCHW).float()
    batches = track(torch.split(stored_NCHW, _BATCH), "comparing")
    fakes = torch.cat([extractor(batch) for batch in batches]).numpy()
    # Sets of features have 2 rows at least: a lone sample is compared twice.
    at_least_two = np.resize(fakes, (max(2, len(fakes)), fakes.shape[1]))
    try:
        found = neighbours(reference.features, at_least_two, reference.mirrored, count)
    except ValueError as error:
        raise UserError(f"{source.path}: {error}") from error
    return Neighbours(found.pairs[: len(fakes)], found.too_near)


def save_neighbours(
    samples_NCHW: Tensor, found: Neighbours, source: Source, config: RunConfig, path: Path
) -> None:
    """Write a grid: a row for each sample, the sample first, then its neighbours by distance."""
    side = samples_NCHW.shape[-1]
    tiles = []
    for sample_CHW, pairs in zip(samples_NCHW, found.pairs, strict=True):
        tiles.append(sample_CHW)
        tiles.extend(_picture(source, pair.training, config, side) for pair in pairs)
    save_grid(torch.stack(tiles), path, columns=1 + len(found.pairs[0]))


def rows(found: Neighbours, seeds: Sequence[int], source: Source) -> list[dict[str, Any]]:
    """JSON-able: each seed's neighbours by name, and whether the first is suspiciously near."""
    return [
        {
            "seed": seed,
            "neighbours": [
                {"picture": printable(source.names[pair.training]), "distance": pair.distance}
                for pair in pairs
            ],
            "too_near": pairs[0].distance < found.too_near,
        }
        for seed, pairs in zip(seeds, found.pairs, strict=True)
    ]


def _picture(source: Source, index: int, config: RunConfig, side: int) -> Tensor:
    image = fit_to_square(source.read(index), config.data.fit, config.data.background, side)
    return to_tensor(image)
