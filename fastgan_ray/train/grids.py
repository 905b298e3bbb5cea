"""Draw an evaluation's grids: samples, pairs that look copied, decoded pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.fit import fit_picture
from fastgan_ray.data.grid import save_grid, to_tensor, to_uint8
from fastgan_ray.data.source import Source
from fastgan_ray.metrics.memorisation import Pair
from fastgan_ray.models import small_size
from fastgan_ray.train.batches import pictures_at
from fastgan_ray.train.draws import CENTRE
from fastgan_ray.train.perceptual import Distance
from fastgan_ray.train.rng import seeded
from fastgan_ray.train.state import TrainState
from fastgan_ray.train.step import reconstruction_error

GRID_TILES = 36
PAIR_COLUMNS = 8  # four pairs in each row
DECODED_ROWS = 8  # training pictures in the grid of decoded pictures, two in each row
RECONSTRUCTED = 64  # training pictures whose reconstruction is measured

Images = np.ndarray[Any, np.dtype[np.uint8]]


def draw_samples(
    state: TrainState, config: RunConfig, path: Path, device: torch.device
) -> dict[str, float | str]:
    """Draw samples of fixed latents; measure their change since the last evaluation.

    In the result, "grid" is the path of the grid. "drift" is the mean squared change of the small
    pictures, with pixels in [-1, 1] that were rounded to 8 bits. The first evaluation has no
    "drift". (Saxena et al. 2023 measure the progress of a training in this way.)
    """
    fixed = torch.randn(GRID_TILES, config.model.nz, generator=seeded(0, "grid"))
    with torch.inference_mode():
        parts = [state.ema(z.to(device)) for z in torch.split(fixed, config.eval.batch_size)]
        full, small = (torch.cat(pictures) for pictures in zip(*parts, strict=True))
    save_grid(full, path)
    before, state.shown = state.shown, to_uint8(small)
    if before is None:
        return {"grid": str(path)}
    drift = ((state.shown.double() - before.double()) / 127.5).square().mean()
    return {"grid": str(path), "drift": float(drift)}


def draw_pairs(
    pairs: list[Pair],
    z_NZ: Tensor,
    source: Source,
    config: RunConfig,
    sample: Callable[[Tensor], Tensor],
    path: Path,
) -> dict[str, str]:
    """Save a grid of `pairs`; return its path as {"pairs": path}, or {} if there are no pairs.

    In the grid, each generated picture is followed by the training picture that it resembles.
    `z_NZ` (pairs, nz) has the latents of the generated pictures; `sample` maps latents to pictures.
    """
    if not pairs:
        return {}
    fakes = torch.cat([sample(z) for z in torch.split(z_NZ, config.eval.batch_size)]).cpu()
    reals = torch.stack([_real_picture(source, pair.training, config) for pair in pairs])
    save_grid(torch.stack([fakes, reals], dim=1).flatten(0, 1), path, PAIR_COLUMNS)
    return {"pairs": str(path)}


def _real_picture(source: Source, index: int, config: RunConfig) -> Tensor:
    """Load picture `index` of `source` at the size of the run: (C, H, W) in [-1, 1]."""
    data = config.data
    original = source.read(index, data.background)
    return to_tensor(fit_picture(original, data.fit, data.background, config.model.size))


@torch.no_grad()
def draw_decoded(
    state: TrainState,
    images: Images,
    distance: Distance,
    config: RunConfig,
    path: Path,
    device: torch.device,
) -> dict[str, float | str]:
    """Draw training pictures next to the outputs of D's decoders; measure the distances.

    `images` (N, H, W, C) are the training pictures without augmentation. In the result,
    "reconstruction" is the mean distance between a picture and its reconstructions. The mean is
    over all decoders and the first pictures (RECONSTRUCTED is their number). "decoded" is the path
    of the grid. If D has no decoders, the result is {}.
    """
    size = small_size(config.model)
    errors: list[float] = []
    counts: list[int] = []
    rows: list[Tensor] = []
    state.discriminator.eval()
    indices = torch.arange(min(len(images), RECONSTRUCTED))
    for batch in torch.split(indices, config.train.batch_size):
        full = pictures_at(images, batch, device)
        _, decoded = state.discriminator(full, F.interpolate(full, size=size), CENTRE)
        if decoded:
            error = reconstruction_error(full, decoded, CENTRE, distance)
            errors.append(float(error) / len(decoded))
            counts.append(len(batch))
            if (missing := DECODED_ROWS - sum(map(len, rows))) > 0:
                rows.append(_next_to_targets(full, decoded)[:missing])
    state.discriminator.train()
    if not rows:
        return {}
    tiles = torch.cat(rows)
    save_grid(tiles.flatten(0, 1), path, columns=2 * tiles.shape[1])
    return {"reconstruction": float(np.average(errors, weights=counts)), "decoded": str(path)}


def _next_to_targets(full: Tensor, decoded: dict[str, Tensor]) -> Tensor:
    """Stack each picture of `full` (B, C, H, W) with its K reconstructions: (B, 1 + K, C, h, w).

    `decoded` has the outputs (B, C, h, w) of K decoders. The picture comes first, resized to h x w.
    The decoder "part" reconstructs only the centre of a picture.
    """
    pictures = [picture.float() for picture in decoded.values()]
    small = F.interpolate(full, size=pictures[0].shape[-2:], mode="bilinear", antialias=True)
    return torch.stack([small, *pictures], dim=1).cpu()
