"""Find the training pictures nearest to generated ones, by features; write a grid of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.grid import save_grid, to_uint8
from fastgan_ray.data.listing import printable
from fastgan_ray.data.source import Source
from fastgan_ray.errors import UserError
from fastgan_ray.latent.pictures import picture_tensor
from fastgan_ray.metrics.extractors import Extractor
from fastgan_ray.metrics.memorisation import Neighbours, neighbours
from fastgan_ray.metrics.reference import load_reference
from fastgan_ray.progress import Track, silently

BATCH = 16


def nearest_pictures(
    samples_NCHW: Tensor,
    source: Source,
    config: RunConfig,
    extractor: Extractor,
    count: int,
    track: Track = silently,
) -> Neighbours:
    """Find, for each sample, the `count` training pictures with the nearest features.

    `samples_NCHW` has generated pictures in [-1, 1]. `source` has the training pictures.
    `extractor` computes the features. The unit of the distances is the mean distance from a
    training picture to the nearest other training picture. If `config` trains on mirror images,
    samples are also compared with mirror images. Raise UserError if all training pictures are the
    same.
    """
    reference = load_reference(source, config, extractor, track)
    # Round to 8 bits, because the training pictures have 8 bits.
    rounded_NCHW = to_uint8(samples_NCHW).float()
    batches = track(torch.split(rounded_NCHW, BATCH), "comparing")
    features = torch.cat([extractor(batch) for batch in batches]).cpu().numpy()
    # `neighbours` needs at least 2 rows, so a single sample is repeated.
    rows = np.resize(features, (max(2, len(features)), features.shape[1]))
    try:
        nearest = neighbours(reference.features, rows, reference.mirrored, count)
    except ValueError as error:
        raise UserError(f"{source.path}: {error}") from error
    return Neighbours(nearest.pairs[: len(features)], nearest.too_near)


def save_neighbours(
    samples_NCHW: Tensor, nearest: Neighbours, source: Source, config: RunConfig, path: Path
) -> None:
    """Write a grid of pictures to `path`.

    Each row has a sample and then the training pictures nearest to the sample, nearest first.
    """
    size = samples_NCHW.shape[-2], samples_NCHW.shape[-1]
    tiles = []
    for sample_CHW, pairs in zip(samples_NCHW, nearest.pairs, strict=True):
        tiles.append(sample_CHW)
        tiles += [picture_tensor(source.read(pair.training), config.data, size) for pair in pairs]
    save_grid(torch.stack(tiles), path, columns=1 + len(nearest.pairs[0]))


def neighbour_rows(
    nearest: Neighbours, seeds: Sequence[int], source: Source
) -> list[dict[str, Any]]:
    """Return a dict of JSON values for each seed in `seeds`: "seed", "neighbours" and "too_near".

    "neighbours" lists the nearest training pictures, nearest first. Each entry has the name of the
    "picture", and its "distance" from the sample. "too_near" is True if the smallest distance is so
    small that the sample is probably a copy.
    """
    return [
        {
            "seed": seed,
            "neighbours": [
                {"picture": printable(source.names[pair.training]), "distance": pair.distance}
                for pair in pairs
            ],
            "too_near": pairs[0].distance < nearest.too_near,
        }
        for seed, pairs in zip(seeds, nearest.pairs, strict=True)
    ]
