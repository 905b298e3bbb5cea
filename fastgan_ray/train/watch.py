"""What a run looks out for at its evaluations: augmentations that leak into the generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastgan_ray.augment import leak
from fastgan_ray.augment.ada import AdaState, adaptive
from fastgan_ray.config.schema import AugmentConfig
from fastgan_ray.train.batches import pictures_at
from fastgan_ray.train.rng import CPU, seeded

SAMPLE = 256  # pictures of each kind, at most


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


def augmentation_report(
    real: Tensor, kept: list[Tensor], config: AugmentConfig, state: AdaState
) -> dict[str, float | str]:
    """p where it moves, the leak check's numbers, and its warnings under "warning" if any."""
    findings = leak.examine(real, torch.cat(kept), config, state.p)
    report: dict[str, float | str] = {"augment/p": state.p} if adaptive(config) else {}
    report |= leak.leaks(findings)
    if sentences := leak.warnings(findings, config):
        report["warning"] = " ".join(sentences)
    return report
