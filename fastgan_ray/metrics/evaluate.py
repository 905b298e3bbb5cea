"""A generator's distance to the real pictures, without writing one of its pictures to disk."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastgan_ray.config.schema import EvalConfig
from fastgan_ray.errors import DivergedError
from fastgan_ray.metrics.extractors import Extractor
from fastgan_ray.metrics.frechet import frechet_distance
from fastgan_ray.metrics.names import metric_name


def evaluate(
    sample: Callable[[Tensor], Tensor],
    nz: int,
    reference: npt.NDArray[np.float32],
    extractor: Extractor,
    config: EvalConfig,
    device: torch.device,
) -> dict[str, float]:
    """Frechet distance of `config.num_fakes` samples to the reference, under the metric's name.

    sample: latents (B, nz) on `device` to pictures (B, 3, H, W) in [-1, 1], each a function of
    its own latent. The latents depend on `config.seed` alone, so that trials see the same ones,
    and the batch size changes the value by rounding only.
    reference: (n, d) from `reference_features`. Raises DivergedError for a non-finite picture,
    feature or distance.
    """
    assert extractor.name == config.extractor
    name = metric_name(config)
    rng = torch.Generator().manual_seed(config.seed)
    latents_NZ = torch.randn(config.num_fakes, nz, generator=rng)
    parts = []
    with torch.inference_mode():
        for z_BZ in torch.split(latents_NZ, config.batch_size):
            images_BCHW = sample(z_BZ.to(device)).float()
            if not bool(torch.isfinite(images_BCHW).all()):
                raise DivergedError(f"{name}: the generator made a picture with non-finite values")
            parts.append(extractor(_as_stored(images_BCHW)))
    features = torch.cat(parts).numpy()
    if not np.isfinite(features).all():
        raise DivergedError(f"{name}: the features of generated pictures are not finite")
    value = frechet_distance(reference, features)
    if not math.isfinite(value):
        raise DivergedError(f"{name}: the distance is not finite (got {value})")
    return {name: value}


def _as_stored(images_BCHW: Tensor) -> Tensor:
    """[-1, 1] to the whole numbers 0..255 that a file would hold, as floats."""
    return ((images_BCHW + 1) * 127.5).round().clamp(0, 255)
