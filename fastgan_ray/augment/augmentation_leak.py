"""Detect a leaked augmentation: generated pictures look augmented, but real ones do not.

A symptom is a number that is computed from a picture. Each augmentation operation has some
symptoms: it makes these numbers larger, or makes them vary more between pictures. An operation has
probably leaked if generated pictures differ from real pictures in its symptoms, about as much as
augmented real pictures do. Pictures are (B, C, H, W) in [-1, 1] (grey, RGB, or RGB and alpha),
downscaled to at most 64 px. Symptoms of colour ignore alpha.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan_ray.augment import pipeline
from fastgan_ray.augment.ada import adaptive
from fastgan_ray.config.augment import AugmentConfig, is_adaptive, policy_ops

SIDE = 64
BLANK = 0.12  # a pixel this near to 0 (grey) is blank: grey fills edges and holes
HOLE = 5  # side of the smallest blank square, in pixels
# The largest difference that a leak can cause, as a multiple of the difference that augmentation
# causes in real pictures. A larger difference has another cause, e.g. all pictures are grey.
MAX_RATIO = 2.0
MIN_STANDARD_ERRORS = 4.0
_MIN_DEVIATION = 0.1  # if real pictures have no blank pixels, their deviation is 0
_EPSILON = 0.02


class Finding(NamedTuple):
    """A symptom of an operation, measured in generated and in augmented real pictures.

    `fake` is the mean of the symptom in generated pictures minus its mean in real pictures.
    `augmented` is its mean in augmented real pictures minus its mean in real pictures. The unit of
    `fake`, `augmented` and `error` is the standard deviation of the symptom.
    """

    op: str
    symptom: str
    fake: float
    augmented: float
    error: float
    """The standard error of `fake`."""


def shrink(images: Tensor) -> Tensor:
    """Downscale pictures (B, C, H, W) to a shorter side of at most 64 px.

    The result is float32, on the CPU, clamped to [-1, 1].
    """
    images = images.detach().float().cpu().clamp(-1, 1)
    height, width = images.shape[-2:]
    shorter = min(height, width)
    size = SIDE * height // shorter, SIDE * width // shorter
    return F.adaptive_avg_pool2d(images, size) if shorter > SIDE else images


def measure_symptoms(real: Tensor, fake: Tensor, config: AugmentConfig, p: float) -> list[Finding]:
    """Measure the symptoms of all operations of the policy in pictures (B, C, H, W).

    `real` and `fake` are results of `shrink`. If a schedule changes a setting, `config` must have
    its strongest value so far. `p` is the current probability of the adaptive operations. If p is
    not constant, the largest value that it may have had is used: `config.ada_max_p` if a controller
    changes p and p is above 0, or `config.ada_p` if a schedule changes `ada_p`. The same arguments
    always give the same result. Raises ValueError for fewer than 2 real or 2 generated pictures.
    """
    if len(real) < 2 or len(fake) < 2:
        raise ValueError(
            "symptoms need at least 2 real and 2 generated pictures "
            f"(got {len(real)} and {len(fake)})"
        )
    # G may have learned to draw these pictures while p was at its maximum.
    p = max(p, config.ada_max_p) if p > 0 and adaptive(config) else p
    p = max(p, config.ada_p) if config.changes("ada_p") else p
    findings = []
    for op in policy_ops(config.policy):
        rng = torch.Generator().manual_seed(0)
        only_op = config.model_copy(update={"policy": op})
        augmented = pipeline.apply(real, pipeline.gate(pipeline.draw(only_op, len(real), rng), p))
        for symptom in OPS_SYMPTOMS.get(op, ()):  # registered operations have none
            measure = SYMPTOMS[symptom].measure
            fake_difference, error = _standardised(measure(real), measure(fake))
            difference, _ = _standardised(measure(real), measure(augmented))
            findings.append(Finding(op, symptom, fake_difference, difference, error))
    return findings


def leak_metrics(findings: Iterable[Finding]) -> dict[str, float]:
    """Return a metric "leak/SYMPTOM" for each finding; its value is `Finding.fake`."""
    return {f"leak/{finding.symptom}": finding.fake for finding in findings}


def leak_warnings(findings: Iterable[Finding], config: AugmentConfig) -> list[str]:
    """Return a warning for each operation that has probably leaked into generated pictures.

    A warning names the symptoms, and the settings to lower.
    """
    symptoms: dict[str, list[str]] = {}
    for finding in findings:
        if indicates_leak(finding):
            symptoms.setdefault(finding.op, []).append(SYMPTOMS[finding.symptom].name)
    return [
        f"{op} has probably leaked into the generated pictures: in {' and '.join(names)}, they "
        f"look like augmented pictures, not like real ones. Lower {_settings_to_lower(op, config)}."
        for op, names in symptoms.items()
    ]


def indicates_leak(finding: Finding) -> bool:
    """Return whether a symptom shows that its operation has leaked into the generated pictures.

    Generated pictures must differ significantly from real ones, and about as much as augmented real
    pictures do.
    """
    symptom = SYMPTOMS[finding.symptom]
    low, high = symptom.min_ratio * finding.augmented, MAX_RATIO * finding.augmented
    return low <= finding.fake <= high and finding.fake > MIN_STANDARD_ERRORS * finding.error


def _settings_to_lower(op: str, config: AugmentConfig) -> str:
    if is_adaptive(op):
        return f"augment.{'ada_p' if config.ada == 'none' else 'ada_max_p'}"
    fields = {"color": ["brightness", "saturation", "contrast"]}.get(op, [op])
    fields = [field for field in fields if field in AugmentConfig.model_fields]
    return " or ".join(f"augment.{field}" for field in [*fields, "probability"])


def _standardised(real: Tensor, other: Tensor) -> tuple[float, float]:
    """Return mean(`other`) - mean(`real`), and the standard error of this difference.

    `real` is (n,) and `other` is (m,). The unit of both results is the pooled standard deviation of
    the two samples.
    """
    variances = real.var().item(), other.var().item()
    deviation = max(math.sqrt(sum(variances) / 2), _MIN_DEVIATION)
    error = math.sqrt(variances[0] / len(real) + variances[1] / len(other))
    return (other.mean() - real.mean()).item() / deviation, error / deviation


def _distance_from_median(values_BK: Tensor) -> Tensor:
    """Compute the distance of each picture's K values from the K medians over all pictures: (B,).

    Source: Brown and Forsythe 1974.
    """
    return (values_BK - values_BK.median(dim=0).values).square().sum(dim=1).sqrt()


def _colours(images: Tensor) -> Tensor:
    return images[:, :3]  # without alpha


def _chroma(images: Tensor) -> Tensor:
    colours = _colours(images)
    return colours - colours.mean(dim=1, keepdim=True)


def _luma(images: Tensor) -> Tensor:
    return _distance_from_median(_colours(images).mean(dim=(1, 2, 3))[:, None])


def _saturation(images: Tensor) -> Tensor:
    return _distance_from_median(_chroma(images).norm(dim=1).mean(dim=(1, 2))[:, None])


def _contrast(images: Tensor) -> Tensor:
    return _distance_from_median(_colours(images).mean(dim=1).flatten(1).std(dim=1)[:, None])


def _hue(images: Tensor) -> Tensor:
    return _distance_from_median(_chroma(images).mean(dim=(2, 3)))


def _balance(images: Tensor) -> Tensor:
    """Measure how unusual the distribution of light in each picture is: (B,).

    Two numbers describe a picture: how much lighter its right side and its lower side are than the
    opposite side. The result is the distance of these numbers from their medians over all pictures.
    Rotating pictures increases it.
    """
    light = images.mean(dim=1)
    deviation = light.flatten(1).std(dim=1)[:, None] + _EPSILON
    row, column = (torch.linspace(-1, 1, side) for side in light.shape[-2:])
    across = (light * column).mean(dim=(1, 2))
    down = (light * row[:, None]).mean(dim=(1, 2))
    return _distance_from_median(torch.stack([across, down], dim=1) / deviation)


def _direction(images: Tensor) -> Tensor:
    """Measure how unusual the direction of the edges in each picture is: (B,).

    The structure tensor of a picture gives a vector that has twice the angle of the picture's main
    gradient. The result is the distance of this vector from the median vector over all pictures.
    Rotating pictures increases it.
    """
    light = images.mean(dim=1)
    right, down = light.diff(dim=2)[:, 1:], light.diff(dim=1)[:, :, 1:]
    energy = (right.square() + down.square()).mean(dim=(1, 2)) + _EPSILON**2
    upright = (right.square() - down.square()).mean(dim=(1, 2)) / energy
    diagonal = (2 * right * down).mean(dim=(1, 2)) / energy
    return _distance_from_median(torch.stack([upright, diagonal], dim=1))


def _border(images: Tensor) -> Tensor:
    """Measure how blank the blankest edge of each picture is: (B,).

    The blankness of an edge is the fraction of blank pixels at this edge, minus the fraction of
    blank pixels in the middle of the picture. A pixel is blank if all its channels are near 0.
    """
    blank = (images.abs().amax(dim=1) < BLANK).float()
    edges = [blank[:, 0], blank[:, -1], blank[:, :, 0], blank[:, :, -1]]
    rows, columns = (slice(side // 4, -side // 4) for side in blank.shape[-2:])
    middle = blank[:, rows, columns].mean(dim=(1, 2))
    return torch.stack([edge.mean(dim=1) for edge in edges]).amax(dim=0) - middle


def _holes(images: Tensor) -> Tensor:
    """Measure the fraction of pixels that are the centre of a blank square: (B,).

    A pixel is blank if all its channels are near 0.
    """
    lit = (images.abs().amax(dim=1) >= BLANK).float()
    return 1 - F.max_pool2d(lit, HOLE, stride=1).mean(dim=(1, 2))


class Symptom(NamedTuple):
    """A symptom: its name in a message, and the function that measures it.

    `measure` maps pictures (B, C, H, W) to one number for each picture (B,).
    """

    name: str
    measure: Callable[[Tensor], Tensor]
    min_ratio: float = 0.5
    """An operation has leaked only if `fake` is at least `min_ratio` x `augmented` (see `Finding`).
    With other faults of a generator, `fake` is smaller. The ratio is lower for grey borders and
    holes, because a generator does not copy them exactly."""


SYMPTOMS: dict[str, Symptom] = {
    "luma": Symptom("brightness", _luma),
    "contrast": Symptom("contrast", _contrast),
    "saturation": Symptom("saturation", _saturation),
    "hue": Symptom("hue", _hue),
    "balance": Symptom("which side is lighter", _balance),
    "direction": Symptom("the direction of edges", _direction),
    "border": Symptom("grey borders", _border, min_ratio=0.2),
    "holes": Symptom("grey holes", _holes, min_ratio=0.2),
}

OPS_SYMPTOMS: dict[str, tuple[str, ...]] = {
    "color": ("luma", "contrast", "saturation"),
    "translation": ("border",),
    "cutout": ("holes",),
    "bgc": ("luma", "hue", "balance", "direction"),
    "keras": ("balance", "direction"),
}
