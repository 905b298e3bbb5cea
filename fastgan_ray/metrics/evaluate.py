"""Measure all metrics (METRICS) of a generator; its pictures are never written to disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fastgan_ray.arithmetic import ieee_float32
from fastgan_ray.config.evaluation import EvalConfig
from fastgan_ray.errors import DivergedError
from fastgan_ray.metrics.diversity import diversity
from fastgan_ray.metrics.extractors import Extractor
from fastgan_ray.metrics.frechet import frechet_distance_with_errors
from fastgan_ray.metrics.inception_score import inception_score
from fastgan_ray.metrics.kernel import kernel_distance
from fastgan_ray.metrics.manifold import precision_recall_density_coverage
from fastgan_ray.metrics.memorisation import (
    NearestTraining,
    Pair,
    closest_pairs,
    memorisation,
    nearest_training,
)
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

OTHER_LATENTS = 2**30  # added to `eval.seed` to draw latents that full evaluations do not use
# The number of pairs (generated picture, nearest training picture) that an evaluation lists.
CLOSEST_PAIRS = 16


class MetricInputs(NamedTuple):
    """The inputs of all metrics, computed once for an evaluation.

    `real` (n, d) are the features of the reference pictures; `mirrored` (n, d) are those of their
    mirror images, or None if metrics do not compare with them. `fake` (m, d) are the features of
    generated pictures. `logits` (m, classes) are the classifier's outputs for generated pictures,
    or None if the extractor has no classifier. `nearest` has the nearest training picture of each
    generated picture, to detect copies.
    """

    real: Features
    fake: Features
    logits: npt.NDArray[np.float32] | None
    nearest: NearestTraining
    mirrored: Features | None = None

    @property
    def reference(self) -> Features:
        """All features that metrics compare with: (n, d), or (2n, d) with mirror images."""
        return self.real if self.mirrored is None else np.concatenate([self.real, self.mirrored])


class Evaluation(NamedTuple):
    """The metrics of an evaluation by name, and pairs of a fake and its nearest training picture.

    `pairs` has the pairs with the smallest distances (at most CLOSEST_PAIRS), the nearest first.
    `pair_latents` (pairs, nz) are the latents of their fakes.
    """

    values: dict[str, float]
    pairs: list[Pair]
    pair_latents: Tensor


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
    """Generate `config.num_fakes` pictures; compare them with the reference by all metrics.

    `sample` maps latents (B, nz) on `device` to pictures (B, C, H, W) in [-1, 1]; each picture must
    depend only on its own latent. The latents depend only on `config.seed`, so all trials use the
    same latents. The batch size changes values only by rounding.

    If `early` is True and `config.early_fakes` is set, the evaluation is cheap: it uses
    `config.early_fakes` pictures from other latents, and the metrics' names begin with "early/".
    Raises DivergedError for a non-finite picture, feature or metric.
    """
    assert extractor.name == config.extractor
    early_count = config.early_fakes if early else None
    count = early_count or config.num_fakes
    drawn = latents(with_other_latents(config) if early_count else config, nz)[:count]
    batches = torch.split(drawn, config.batch_size)
    with ieee_float32():  # `protocol` records this arithmetic
        features = _fake_features(
            sample, track(batches, "features of generated pictures"), extractor, device
        )
    inputs = _metric_inputs(features, reference, extractor, config)
    values: dict[str, float] = {}
    for measure in METRICS.values():
        values |= measure(inputs, config)
    for name, value in values.items():
        if not math.isfinite(value):
            raise DivergedError(f"{name} is not finite (got {value})")
    if early_count:
        values = {early_name(name): value for name, value in values.items()}
    pairs = closest_pairs(inputs.nearest, CLOSEST_PAIRS)
    pair_latents = drawn[[pair.fake for pair in pairs]]
    return Evaluation(values | {"num_fakes": count}, pairs, pair_latents)


def latents(config: EvalConfig, nz: int) -> Tensor:
    """Draw the latents (num_fakes, nz) of an evaluation.

    They are drawn on the CPU and are the same for all trials.
    """
    return torch.randn(config.num_fakes, nz, generator=torch.Generator().manual_seed(config.seed))


def with_other_latents(config: EvalConfig) -> EvalConfig:
    """Return `config` with another seed, i.e. with latents that full evaluations do not use.

    A run chooses its best checkpoint by noisy values, so the chosen value is usually too good.
    Therefore, the run measures this checkpoint again with other latents.
    """
    return config.model_copy(update={"seed": (config.seed + OTHER_LATENTS) % 2**31})


def _fake_features(
    sample: Callable[[Tensor], Tensor],
    latents_BZ: Iterable[Tensor],
    extractor: Extractor,
    device: torch.device,
) -> Tensor:
    """Compute the features (N, d) of the pictures that `sample` generates from latents.

    Pictures and features are computed on `device`, one batch at a time to save memory. The CPU
    waits for the device only after the last batch. The result is on the CPU. Raises DivergedError
    for a non-finite picture or feature.
    """
    parts, are_finite = [], []
    with torch.inference_mode():
        for z_BZ in latents_BZ:
            images_BCHW = sample(z_BZ.to(device, non_blocking=True)).float()
            are_finite.append(torch.isfinite(images_BCHW).all())
            parts.append(extractor(_as_stored(images_BCHW)))
        features = torch.cat(parts).cpu()
        if not bool(torch.stack(are_finite).all()):
            raise DivergedError("the generator made a picture with non-finite values")
    if not bool(torch.isfinite(features).all()):
        raise DivergedError("the features of generated pictures are not finite")
    return features


def _metric_inputs(
    features: Tensor, reference: Reference, extractor: Extractor, config: EvalConfig
) -> MetricInputs:
    real, mirrored, training = reference
    training = training or reference
    return MetricInputs(
        real=real,
        mirrored=mirrored if config.mirrored_reference else None,
        fake=features.numpy(),
        logits=extractor.logits(features).numpy() if extractor.logits else None,
        nearest=nearest_training(training.features, features.numpy(), training.mirrored),
    )


def _as_stored(images_BCHW: Tensor) -> Tensor:
    """Round pictures in [-1, 1] to the values 0 to 255 of an 8-bit file; return them as floats."""
    return ((images_BCHW + 1) * 127.5).round().clamp(0, 255)


def _frechet(inputs: MetricInputs, config: EvalConfig) -> dict[str, float]:
    values = frechet_distance_with_errors(inputs.real, inputs.fake, inputs.mirrored)
    return _with_errors(metric_name(config, "fd"), values)


def _kernel(inputs: MetricInputs, config: EvalConfig) -> dict[str, float]:
    values = kernel_distance(inputs.real, inputs.fake, inputs.mirrored)
    return _with_errors(metric_name(config, "kd"), values)


def _with_errors(name: str, values: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((name, fakes_error_name(name), error_name(name)), values, strict=True))


def _manifold(inputs: MetricInputs, config: EvalConfig) -> dict[str, float]:
    real = inputs.reference
    if min(len(real), len(inputs.fake)) <= NEIGHBOURS:
        return {}
    values = precision_recall_density_coverage(real, inputs.fake, NEIGHBOURS)
    return {manifold_name(name): value for name, value in values.items()}


def _inception_score(inputs: MetricInputs, config: EvalConfig) -> dict[str, float]:
    if inputs.logits is None:
        return {}
    mean, deviation = inception_score(inputs.logits)
    name = metric_name(config, "is")
    return {name: mean, f"{name}_sd": deviation}


def _diversity(inputs: MetricInputs, config: EvalConfig) -> dict[str, float]:
    return {"diversity": diversity(inputs.reference, inputs.fake)}


def _memorisation(inputs: MetricInputs, config: EvalConfig) -> dict[str, float]:
    return memorisation(inputs.nearest)


METRICS: dict[str, Callable[[MetricInputs, EvalConfig], dict[str, float]]] = {
    "frechet": _frechet,
    "kernel": _kernel,
    "manifold": _manifold,
    "inception_score": _inception_score,
    "diversity": _diversity,
    "memorisation": _memorisation,
}
