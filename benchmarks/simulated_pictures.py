"""Simulated generators: real pictures changed a little, as new ones would be, then made worse.

Variant v of a picture has the same move and colour whatever is done to it afterwards, so that two
simulated generators can be compared on the same latents.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from fastgan_ray.augment.diffaugment import color
from fastgan_ray.augment.geometry import unrotate, unscale, unshift, warp
from fastgan_ray.config.paths import cache_dir
from fastgan_ray.data.cache import atomic_file
from fastgan_ray.data.fit import fit_picture
from fastgan_ray.data.source import Source
from fastgan_ray.metrics.extractors import Extractor
from fastgan_ray.metrics.reference import Features

_VERSION = 1  # raise it when the same settings would give other pictures


def simulated_features(
    source: Source, extractor: Extractor, kind: str, amount: float, variants: int
) -> Features:
    """Features (pictures, variants, d) of every variant of every picture; cached on disk.

    kind: a key of DEGRADATIONS; amount: its strength, in the units that it states.
    """
    settings = [_VERSION, source.digest, extractor.weights_sha256, kind, amount, variants]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    path = cache_dir() / "benchmarks" / f"{key}.npy"
    if path.is_file():
        cached: Features = np.load(path)
        return cached
    images = _pictures(source)
    parts = []
    for variant in range(variants):
        worse = DEGRADATIONS[kind](_vary(images, variant), amount, _seeded(1, variant))
        # The whole numbers that a file would hold.
        parts.append(extractor(((worse + 1) * 127.5).round().clamp(0, 255)))
    features = torch.stack(parts, dim=1).numpy()
    with atomic_file(path) as partial, partial.open("wb") as file:
        np.save(file, features)
    return features


def _pictures(source: Source) -> Tensor:
    """All pictures, (N, 3, H, W) in [-1, 1]."""
    squares = [
        fit_picture(source.read(index), "squash", source.background, (1, 1), keep_scale=True)
        for index in range(len(source))
    ]
    pixels = torch.from_numpy(np.stack([np.array(image) for image in squares]))
    return pixels.permute(0, 3, 1, 2) / 127.5 - 1


def _vary(images_BCHW: Tensor, variant: int) -> Tensor:
    """Mirrored or not; turned, scaled and shifted by a few percent; other light and colour."""
    rng = _seeded(0, variant)
    count = len(images_BCHW)
    turn, scale, x, y, brightness, saturation, contrast = (
        2 * torch.rand(7, count, generator=rng) - 1
    )
    mirror = 2.0 * torch.randint(2, (count,), generator=rng) - 1
    size = 1 + 0.05 * scale
    inverse = unscale(size * mirror, size) @ unrotate(0.08 * turn)
    inverse = inverse @ unshift(0.03 * torch.stack([x, y], dim=1))
    light = {
        "chosen": torch.ones(count, dtype=torch.bool),
        "brightness": 0.08 * brightness,
        "saturation": 1 + 0.2 * saturation,
        "contrast": 1 + 0.1 * contrast,
    }
    return color(warp(images_BCHW, inverse), light)


def _seeded(purpose: int, variant: int) -> torch.Generator:
    return torch.Generator().manual_seed(1_000 * purpose + variant)


def _none(images: Tensor, amount: float, rng: torch.Generator) -> Tensor:
    return images


def _blur(images: Tensor, amount: float, rng: torch.Generator) -> Tensor:
    """Gaussian, of `amount` pixels standard deviation."""
    return torch.as_tensor(gaussian_blur(images, [9, 9], [amount, amount]))


def _noise(images: Tensor, amount: float, rng: torch.Generator) -> Tensor:
    """White, of `amount` 255ths standard deviation."""
    return images + amount / 127.5 * torch.randn(images.shape, generator=rng)


def _tint(images: Tensor, amount: float, rng: torch.Generator) -> Tensor:
    """Red up and blue down by `amount` 255ths."""
    return images + amount / 127.5 * torch.tensor([1.0, 0.0, -1.0])[:, None, None]


def _crop(images: Tensor, amount: float, rng: torch.Generator) -> Tensor:
    """The middle, magnified by `amount`."""
    factor = torch.full((len(images),), amount)
    return warp(images, unscale(factor, factor))


def _ghost(images: Tensor, amount: float, rng: torch.Generator) -> Tensor:
    """Laid over itself, moved by 6 % of a side, with weight `amount`."""
    moved = warp(images, unshift(torch.tensor([[0.06, 0.03]]).repeat(len(images), 1)))
    return torch.lerp(images, moved, amount)


def _melt(images: Tensor, amount: float, rng: torch.Generator) -> Tensor:
    """Shapes bent: each place moved smoothly by about `amount` hundredths of a side."""
    side = images.shape[-1]
    coarse = torch.randn(len(images), 2, 6, 6, generator=rng)
    shifts = F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)
    still = F.affine_grid(
        torch.eye(2, 3).repeat(len(images), 1, 1), list(images.shape), align_corners=False
    )
    places = still + 0.02 * amount * shifts.permute(0, 2, 3, 1)
    return F.grid_sample(
        images, places, mode="bilinear", padding_mode="reflection", align_corners=False
    )


DEGRADATIONS: dict[str, Callable[[Tensor, float, torch.Generator], Tensor]] = {
    "none": _none,
    "blur": _blur,
    "noise": _noise,
    "tint": _tint,
    "crop": _crop,
    "ghost": _ghost,
    "melt": _melt,
}
