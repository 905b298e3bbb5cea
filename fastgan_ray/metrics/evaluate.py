"""From a generator to its numbers, without writing one of its pictures to disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastgan_ray.config.run_config import EvalConfig
from fastgan_ray.errors import DivergedError
from fastgan_ray.metrics.diversity import diversity
from fastgan_ray.metrics.extractors import Extractor
from fastgan_ray.metrics.frechet import frechet_distance_with_errors
from fastgan_ray.metrics.inception_score import inception_score
from fastgan_ray.metrics.kernel import kernel_distance_with_errors
from fastgan_ray.metrics.manifold import precision_recall_density_coverage
from fastgan_ray.metrics.memorisation import Nearest, Pair, memorisation, nearest, worst_pairs
from fastgan_ray.metrics.names import (
    NEIGHBOURS,
    early_name,
    error_name,
    fakes_error_name,
    manifold_name,
    metric_name,
)
from fastgan_ray.metrics.reference import Features, Reference
from fastgan_ray.progress import Track, silently

PAIRS = 16  # of the closest generated and training pictures that an evaluation names


class Sets(NamedTuple):
    """What a metric is made of: features (n, d) and (m, d), logits (m, classes) if there are any.

    `real` is what the fakes are compared with, `nearest` what they may be copies of.
    """

    real: Features
    fake: Features
    logits: npt.NDArray[np.float32] | None
    nearest: Nearest


class Evaluation(NamedTuple):
    """Numbers by name, and the pairs of generated and training pictures that are most alike."""

    values: dict[str, float]
    pairs: list[Pair]


def evaluate(
    sample: Callable[[Tensor], Tensor],
    nz: int,
    reference: Reference,
    extractor: Extractor,
    config: EvalConfig,
    device: torch.device,
    early: bool = False,
    track: Track = silently,
) -> Evaluation:
    """Every one of METRICS, of `config.num_fakes` samples against the reference.

    sample: latents (B, nz) on `device` to pictures (B, 3, H, W) in [-1, 1], each a function of
    its own latent. The latents depend on `config.seed` alone, so that trials see the same ones,
    and the batch size changes a value by rounding only. `early`: a cheap evaluation, of the first
    `config.early_fakes` of these samples, whose numbers have names of their own. Raises
    DivergedError for a non-finite picture, feature or number.
    """
    assert extractor.name == config.extractor
    fewer = config.early_fakes if early else None
    count = fewer or config.num_fakes
    batches = track(
        torch.split(latents(config, nz)[:count], config.batch_size),
        "features of generated pictures",
    )
    features = _fake_features(sample, batches, extractor, device)
    real, mirrored = reference
    sets = Sets(
        real=np.concatenate([real, mirrored])
        if config.mirrored_reference and mirrored is not None
        else real,
        fake=features.numpy(),
        logits=extractor.logits(features).numpy() if extractor.logits else None,
        nearest=nearest(real, features.numpy(), mirrored),
    )
    values: dict[str, float] = {}
    for measure in METRICS.values():
        values |= measure(sets, config)
    for name, value in values.items():
        if not math.isfinite(value):
            raise DivergedError(f"{name} is not finite (got {value})")
    if fewer:
        values = {early_name(name): value for name, value in values.items()}
    return Evaluation(values | {"num_fakes": count}, worst_pairs(sets.nearest, PAIRS))


def latents(config: EvalConfig, nz: int) -> Tensor:
    """The latents (num_fakes, nz) of an evaluation, on the CPU: the same for all trials."""
    return torch.randn(config.num_fakes, nz, generator=torch.Generator().manual_seed(config.seed))


def _fake_features(
    sample: Callable[[Tensor], Tensor],
    latents_BZ: Iterable[Tensor],
    extractor: Extractor,
    device: torch.device,
) -> Tensor:
    """Features (N, d) of the samples of each batch of latents, which only exist for a moment."""
    parts = []
    with torch.inference_mode():
        for z_BZ in latents_BZ:
            images_BCHW = sample(z_BZ.to(device)).float()
            if not bool(torch.isfinite(images_BCHW).all()):
                raise DivergedError("the generator made a picture with non-finite values")
            parts.append(extractor(_as_stored(images_BCHW)))
    features = torch.cat(parts)
    if not bool(torch.isfinite(features).all()):
        raise DivergedError("the features of generated pictures are not finite")
    return features


def _as_stored(images_BCHW: Tensor) -> Tensor:
    """[-1, 1] to the whole numbers 0..255 that a file would hold, as floats."""
    return ((images_BCHW + 1) * 127.5).round().clamp(0, 255)


def _frechet(sets: Sets, config: EvalConfig) -> dict[str, float]:
    measured = frechet_distance_with_errors(sets.real, sets.fake)
    return _with_errors(metric_name(config, "fd"), measured)


def _kernel(sets: Sets, config: EvalConfig) -> dict[str, float]:
    return _with_errors(
        metric_name(config, "kd"), kernel_distance_with_errors(sets.real, sets.fake)
    )


def _with_errors(name: str, measured: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((name, fakes_error_name(name), error_name(name)), measured, strict=True))


def _manifold(sets: Sets, config: EvalConfig) -> dict[str, float]:
    if min(len(sets.real), len(sets.fake)) <= NEIGHBOURS:
        return {}
    found = precision_recall_density_coverage(sets.real, sets.fake, NEIGHBOURS)
    return {manifold_name(name): value for name, value in found.items()}


def _inception_score(sets: Sets, config: EvalConfig) -> dict[str, float]:
    if sets.logits is None:
        return {}
    mean, deviation = inception_score(sets.logits)
    name = metric_name(config, "is")
    return {name: mean, f"{name}_sd": deviation}


def _diversity(sets: Sets, config: EvalConfig) -> dict[str, float]:
    return {"diversity": diversity(sets.real, sets.fake)}


def _memorisation(sets: Sets, config: EvalConfig) -> dict[str, float]:
    return memorisation(sets.nearest)


METRICS: dict[str, Callable[[Sets, EvalConfig], dict[str, float]]] = {
    "frechet": _frechet,
    "kernel": _kernel,
    "manifold": _manifold,
    "inception_score": _inception_score,
    "diversity": _diversity,
    "memorisation": _memorisation,
}
