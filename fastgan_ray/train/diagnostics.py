"""Check an evaluation's pictures for leaked augmentations and copies of training pictures."""

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
    """Choose at most SAMPLE_COUNT of `images` (N, H, W, C); return downscaled copies of them.

    The function `shrink` makes the copies. Each chosen picture is mirrored with probability `flip`.
    The same `images` always give the same result.
    """
    rng = seeded(0, "leak")
    pictures = pictures_at(images, torch.randperm(len(images), generator=rng)[:SAMPLE_COUNT], CPU)
    flipped = (torch.rand(len(pictures), generator=rng) < flip)[:, None, None, None]
    return shrink(torch.where(flipped, pictures.flip(3), pictures))


def collect_samples(
    sample: Callable[[Tensor], Tensor], samples: list[Tensor]
) -> Callable[[Tensor], Tensor]:
    """Return a function that does the same as `sample`, and also collects pictures.

    `sample` maps latents (B, nz) to pictures (B, C, H, W). The returned function adds downscaled
    copies of the first SAMPLE_COUNT pictures to the list `samples`.
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
    """Look for leaked augmentations and copied training pictures; return metrics by name.

    `real` (N, C, H, W) and the batches in `samples` are downscaled pictures. `p` is the probability
    of the adaptive operations. `values` are the evaluation's metrics.

    In the result, "leak/SYMPTOM" says how much generated and real pictures differ in a symptom of
    an augmentation. If there are warnings, "warning" has their text. If `p` can change in the
    training, "augment/p" is `p`.
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
    """Return whether generated pictures are similar enough to real ones to detect leaks.

    A leak means that generated pictures look augmented. `values` are the evaluation's metrics. The
    result is True if `values` contain a recall of at least MIN_RECALL. Without a feature network,
    or with too few pictures, there is no recall.
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
            "training picture than 95 % of the training pictures are to each other (see the "
            "pictures in the folder pairs). FID and KID reward copies. Train for less time, or "
            "augment more."
        )
    ]
