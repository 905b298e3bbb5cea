"""How much of a picture D's trunk keeps: the D-reconstruction distance of the paper's table 7.

D's own decoders cannot say it: arms of an ablation without them have none, and others train theirs
together with D. So a fresh decoder of the same form learns, for as many steps for each arm, to undo
a frozen D.
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
RATE = 1e-3
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
    """Mean distance of `images` (N, R, R, 3) from what is decoded of D's 8x8 features of them.

    The decoder learns `steps` batches of the same pictures; everything drawn has its own fixed
    seed. D is left as it is: a copy judges with batch statistics of these pictures. Values compare
    if pictures, distance, width and steps agree.
    """
    frozen = copy.deepcopy(discriminator).requires_grad_(False)
    order = _batches(len(images))
    with torch.no_grad(), fresh_batchnorm_statistics(frozen):
        for _ in range(STATISTICS_BATCHES):
            frozen.trunk(pictures_at(images, next(order), device))
    with torch.no_grad():
        channels = frozen.trunk(pictures_at(images, torch.zeros(1).long(), device)).shape[1]
    decoder = build_decoder(channels, decoder_width, images.shape[1], seeded(0, "probe")).to(device)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=RATE, betas=BETAS)

    def error(indices: Tensor) -> Tensor:
        pictures = pictures_at(images, indices, device)
        with torch.no_grad():
            features = frozen.trunk(pictures)
        decoded = decoder(features)
        return distance(decoded, F.interpolate(pictures, size=decoded.shape[-2:]))

    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(error(next(order)))
        optimizer.step()
    decoder.eval()
    with torch.no_grad():
        parts = torch.split(torch.arange(len(images)), BATCH)
        total = sum(float(error(indices)) * len(indices) for indices in parts)
    return total / len(images)


def _batches(count: int) -> Iterator[Tensor]:
    rng = seeded(0, "probe batches")
    while True:
        yield torch.randint(count, (min(BATCH, count),), generator=rng)
