"""Check evaluations for leaking augmentations and copied training pictures; write warnings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastgan_ray.augment.ada import adaptive
from fastgan_ray.augment.augmentation_leak import (
    leak_metrics,
    leak_warnings,
    measure_symptoms,
    shrink,
)
from fastgan_ray.config.augment import AugmentConfig
from fastgan_ray.metrics.names import manifold_name, value_of
from fastgan_ray.train.batches import pictures_at
from fastgan_ray.train.rng import CPU, seeded

SAMPLE_COUNT = 256  # pictures of each kind, at most
# With a smaller recall, generated pictures differ from real ones in every respect, so a leak cannot
# be recognised. The recall was at most .004 in 344 evaluations of barely trained generators, and at
# least .6 for real pictures that were all augmented (docs/findings.md).
MIN_RECALL = 0.05
MAX_MEMORISED = 0.5  # warn from this share of memorised pictures; the share is 0.05 without copies


def real_sample(images: np.ndarray[Any, np.dtype[np.uint8]], flip: float) -> Tensor:
    """Choose some of `images` (N, H, W, C), mirror the fraction `flip` of them, and downscale all.

    The same `images` always give the same result.
    """
    rng = seeded(0, "leak")
    pictures = pictures_at(images, torch.randperm(len(images), generator=rng)[:SAMPLE_COUNT], CPU)
    flipped = (torch.rand(len(pictures), generator=rng) < flip)[:, None, None, None]
    return shrink(torch.where(flipped, pictures.flip(3), pictures))


def collect_samples(
    sample: Callable[[Tensor], Tensor], samples: list[Tensor]
) -> Callable[[Tensor], Tensor]:
    """Return a function like `sample` that also adds its first pictures, downscaled, to `samples`.

    `sample` maps latents (B, nz) to pictures (B, C, H, W).
    """

    def collecting(z_BZ: Tensor) -> Tensor:
        images = sample(z_BZ)
        if (missing := SAMPLE_COUNT - sum(map(len, samples))) > 0:
            samples.append(shrink(images[:missing]))
        return images

    return collecting


def diagnose(
    real: Tensor,
    samples: list[Tensor],
    config: AugmentConfig,
    p: float,
    values: Mapping[str, float],
) -> dict[str, float | str]:
    """Return the symptoms of leaking augmentations, and any warnings under the key "warning".

    `real` and `samples` are downscaled pictures (B, C, H, W). `p` is the probability of the
    adaptive operations; it is in the result if it changes. `values` are the evaluation's metrics.
    """
    findings = measure_symptoms(real, torch.cat(samples), config, p)
    changes_p = adaptive(config) or config.changes("ada_p")
    report: dict[str, float | str] = {"augment/p": p} if changes_p else {}
    report |= leak_metrics(findings)
    leaks = leak_warnings(findings, config) if can_show_leaks(values) else []
    if sentences := [*leaks, *_copy_warnings(values)]:
        report["warning"] = " ".join(sentences)
    return report


def can_show_leaks(values: Mapping[str, float]) -> bool:
    """Return whether generated pictures are near enough to real ones to show a leaked augmentation.

    `values` are the evaluation's metrics. If recall is not among the metrics, because nothing is
    measured or there are too few pictures, the result is False.
    """
    recall = value_of(values, manifold_name("recall"), 0.0)
    return recall is not None and recall >= MIN_RECALL


def _copy_warnings(values: Mapping[str, float]) -> list[str]:
    share = value_of(values, "memorised", 0.0)
    if share is None or share < MAX_MEMORISED:
        return []
    return [
        (
            f"{share:.0%} of the generated pictures are probably copies: they are nearer to a "
            f"training picture than training pictures are to each other (see the pictures in the "
            f"folder pairs). FID and KID reward copies. Train for less time, or augment more."
        )
    ]
