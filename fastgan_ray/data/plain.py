"""Measure how plain a set of pictures is: its share of black and white pixels.

Pictures of single things on a plain background have many such pixels, photographs and textures have
few. The same configurations are good for sets that are alike in this (docs/findings.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastgan_ray.config.data import DataConfig
from fastgan_ray.data.fit import fit_picture
from fastgan_ray.data.source import Source, open_source
from fastgan_ray.errors import UserError

SIDE = 32  # px to which pictures are fitted
PICTURES = 100  # largest number of pictures that are measured; they are evenly spaced
MARGIN = 5  # largest distance of a channel from 0 or 255


def plain_share(images: NDArray[np.uint8]) -> float:
    """Return the share of the pixels of `images` (N, H, W, C) that are black, white or transparent.

    A pixel is black (white) if all its colour channels are at most `MARGIN` from 0 (255).
    """
    colours = images[..., : min(images.shape[-1], 3)]
    plain = (colours <= MARGIN).all(axis=-1) | (colours >= 255 - MARGIN).all(axis=-1)
    if images.shape[-1] == 4:
        plain |= images[..., 3] <= MARGIN
    return float(plain.mean())


def measured_share(source: Source, config: DataConfig) -> float | None:
    """Return the plain share of the pictures of a source; None if they cannot be read."""
    indices = np.unique(np.linspace(0, len(source) - 1, PICTURES).astype(int))
    background = config.background.lower()
    try:
        fitted = [
            fit_picture(source.read(int(i), background), config.fit, background, (SIDE, SIDE))
            for i in indices
        ]
    except (UserError, OSError):
        return None
    images = np.stack([np.asarray(image, dtype=np.uint8) for image in fitted])
    return plain_share(images if images.ndim == 4 else images[..., None])


def plain_share_of(config: DataConfig) -> float | None:
    """Return the plain share of a set of pictures; None if the pictures cannot be read."""
    try:
        source = open_source(config)
    except (UserError, OSError):
        return None
    return measured_share(source, config)
