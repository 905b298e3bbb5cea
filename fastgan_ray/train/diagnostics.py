"""What a run looks out for at its evaluations: leaking augmentations, and copied pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastgan_ray.augment import augmentation_leak as leak
from fastgan_ray.augment.ada import adaptive
from fastgan_ray.config.run_config import AugmentConfig
from fastgan_ray.metrics.names import value_of
from fastgan_ray.train.batches import pictures_at
from fastgan_ray.train.rng import CPU, seeded

SAMPLE = 256  # pictures of each kind, at most
COPYING = 0.5  # share of memorised pictures to warn of; new ones have .05


def real_sample(images: np.ndarray[Any, np.dtype[np.uint8]], flip: float) -> Tensor:
    """Some of `images` (N, R, R, 3), as often flipped as in training, shrunk for `leak`.

    The same pictures give the same sample.
    """
    rng = seeded(0, "leak")
    pictures = pictures_at(images, torch.randperm(len(images), generator=rng)[:SAMPLE], CPU)
    flipped = (torch.rand(len(pictures), generator=rng) < flip)[:, None, None, None]
    return leak.shrunk(torch.where(flipped, pictures.flip(3), pictures))


def keeping(sample: Callable[[Tensor], Tensor], kept: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """`sample`, whose first pictures go to `kept` as well, shrunk for `leak`."""

    def both(z_BZ: Tensor) -> Tensor:
        images = sample(z_BZ)
        if (missing := SAMPLE - sum(map(len, kept))) > 0:
            kept.append(leak.shrunk(images[:missing]))
        return images

    return both


def watch(
    real: Tensor,
    kept: list[Tensor],
    config: AugmentConfig,
    p: float,
    values: Mapping[str, float],
) -> dict[str, float | str]:
    """p where it moves, the leak check's numbers, and warnings, if any, under "warning".

    p is the adaptive augmentations' probability; `values` are the evaluation's numbers.
    """
    findings = leak.examine(real, torch.cat(kept), config, p)
    report: dict[str, float | str] = {"augment/p": p} if adaptive(config) else {}
    report |= leak.leaks(findings)
    if sentences := [*leak.warnings(findings, config), *_copying(values)]:
        report["warning"] = " ".join(sentences)
    return report


def _copying(values: Mapping[str, float]) -> list[str]:
    share = value_of(values, "memorised", 0.0)
    if share is None or share < COPYING:
        return []
    return [
        f"{share:.0%} of the generated pictures are nearer to a training picture than real ones "
        "are to each other: copies, it seems (see the folder pairs). Distances such as FID reward "
        "that; train for less, or augment more."
    ]
