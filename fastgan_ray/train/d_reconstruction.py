"""Measure how well pictures can be reconstructed from D's features.

This is "D-reconstruction" in table 7 of Liu et al. 2021. D's own decoders cannot measure it: some
arms of an ablation have no decoders, and the other arms train the decoders together with D. So
every arm gets a new decoder. All new decoders have the same form and are trained for the same
number of steps, on the features of the frozen D.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan_ray.models import AnyDiscriminator, build_decoder
from fastgan_ray.train.batches import pictures_at
from fastgan_ray.train.rng import seeded
from fastgan_ray.train.state import fresh_batchnorm_statistics

Images = np.ndarray[Any, np.dtype[np.uint8]]

BATCH = 8
LEARNING_RATE = 1e-3
BETAS = (0.5, 0.999)
STATISTICS_BATCHES = 4


def d_reconstruction(
    discriminator: AnyDiscriminator,
    images: Images,
    distance: Callable[[Tensor, Tensor], Tensor],
    decoder_width: int,
    steps: int,
    device: torch.device,
) -> float:
    """Measure the mean distance between `images` (N, H, W, C) and their reconstructions.

    A new decoder is trained for `steps` batches to reconstruct these pictures from D's 8x8
    features. `decoder_width` is the setting `model.decoder_width`. `distance` takes pictures and
    targets, and returns their mean distance (see `perceptual`). All random numbers have fixed
    seeds. D does not change, because the function uses a copy of D. The batch statistics of the
    copy are measured on `images`. Compare two results only if pictures, distance, decoder width and
    steps are the same.
    """
    batches = _batches(len(images))
    frozen = _frozen_copy(discriminator, images, batches, device)
    with torch.no_grad():
        features = frozen.trunk(pictures_at(images, torch.zeros(1).long(), device))
    _, width, rows, _ = features.shape
    resolution = 8 * images.shape[1] // rows  # the side of a square picture with 8x8 features
    rng, picture_channels = seeded(0, "probe"), images.shape[3]
    decoder = build_decoder(width, decoder_width, resolution, rng, picture_channels).to(device)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=LEARNING_RATE, betas=BETAS)

    def error(indices: Tensor) -> Tensor:
        pictures = pictures_at(images, indices, device)
        with torch.no_grad():
            features = frozen.trunk(pictures)
        decoded = decoder(features)
        return distance(decoded, F.interpolate(pictures, size=decoded.shape[-2:]))

    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(error(next(batches)))
        optimizer.step()
    decoder.eval()
    with torch.no_grad():
        parts = torch.split(torch.arange(len(images)), BATCH)
        total = sum(float(error(indices)) * len(indices) for indices in parts)
    return total / len(images)


def _frozen_copy(
    discriminator: AnyDiscriminator,
    images: Images,
    batches: Iterator[Tensor],
    device: torch.device,
) -> AnyDiscriminator:
    """Copy D, without gradients; measure the copy's batch statistics on `images`.

    `batches` yields the indices of the pictures of each batch.
    """
    frozen = copy.deepcopy(discriminator).requires_grad_(False)
    with torch.no_grad(), fresh_batchnorm_statistics(frozen):
        for _ in range(STATISTICS_BATCHES):
            frozen.trunk(pictures_at(images, next(batches), device))
    return frozen


def _batches(count: int) -> Iterator[Tensor]:
    rng = seeded(0, "probe batches")
    while True:
        yield torch.randint(count, (min(BATCH, count),), generator=rng)
