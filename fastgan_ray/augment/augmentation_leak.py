"""Whether an augmentation has leaked: generated pictures look augmented, as real ones do not.

Each operation has symptoms: numbers of a picture that it scatters or raises. Generated pictures
show one if theirs lie as far from the real ones' as those of augmented real pictures do. Measured
on pictures (B, 3, H, H) in [-1, 1], shrunk to 64 px or less.
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
from fastgan_ray.config.run_config import ADAPTIVE_OPS, AugmentConfig, policy_ops

SIDE = 64
BLANK = 0.12  # a pixel this near to the grey that fills edges and holes
HOLE = 5  # side of the smallest blank square, in pixels
# The most that speaks for a leak, in differences that the augmentation makes to real pictures. More
# is another fault, such as pictures that are all grey.
MOST = 2.0
CERTAIN = 4.0  # standard errors
_LEAST_SPREAD = 0.1  # of standard deviations: real pictures may have no blank pixel at all
_TINY = 0.02


class Finding(NamedTuple):
    """One symptom of one operation; differences to the real pictures in standard deviations."""

    op: str
    symptom: str
    fake: float
    augmented: float
    error: float
    """Standard error of `fake`."""


def shrunk(images: Tensor) -> Tensor:
    """The pictures at no more than 64 px, as float32 on the CPU, in [-1, 1]."""
    images = images.detach().float().cpu().clamp(-1, 1)
    return F.adaptive_avg_pool2d(images, SIDE) if images.shape[-1] > SIDE else images


def examine(real: Tensor, fake: Tensor, config: AugmentConfig, p: float) -> list[Finding]:
    """All symptoms of the policy's operations in shrunk pictures; the same ones, the same findings.

    `p` is the adaptive operations' probability. ValueError for fewer than 2 pictures of a kind.
    """
    if len(real) < 2 or len(fake) < 2:
        raise ValueError(f"must have 2 pictures of each kind (got {len(real)} and {len(fake)})")
    # What may have leaked since p left 0 is whatever p may have been.
    p = max(p, config.ada_max_p) if p > 0 and adaptive(config) else p
    findings = []
    for op in policy_ops(config.policy):
        rng = torch.Generator().manual_seed(0)
        alone = config.model_copy(update={"policy": op})
        augmented = pipeline.apply(real, pipeline.gate(pipeline.draw(alone, len(real), rng), p))
        for symptom in OPS_SYMPTOMS[op]:
            degree = SYMPTOMS[symptom].degree
            fake_difference, error = _standardised(degree(real), degree(fake))
            difference, _ = _standardised(degree(real), degree(augmented))
            findings.append(Finding(op, symptom, fake_difference, difference, error))
    return findings


def leaks(findings: Iterable[Finding]) -> dict[str, float]:
    """Each symptom's difference between generated and real pictures; 0 = alike."""
    return {f"leak/{finding.symptom}": finding.fake for finding in findings}


def warnings(findings: Iterable[Finding], config: AugmentConfig) -> list[str]:
    """A sentence for each operation that has probably leaked: what shows it, and what mends it."""
    signs: dict[str, list[str]] = {}
    for finding in findings:
        if speaks_for_a_leak(finding):
            signs.setdefault(finding.op, []).append(SYMPTOMS[finding.symptom].name)
    return [
        f"{op} has probably leaked: in {' and '.join(found)}, generated pictures are like "
        f"augmented ones, not like real ones. Lower {_mend(op, config)}."
        for op, found in signs.items()
    ]


def speaks_for_a_leak(finding: Finding) -> bool:
    """Whether generated pictures differ, certainly, and about as much as augmented ones."""
    low, high = SYMPTOMS[finding.symptom].least * finding.augmented, MOST * finding.augmented
    return low <= finding.fake <= high and finding.fake > CERTAIN * finding.error


def _mend(op: str, config: AugmentConfig) -> str:
    if op in ADAPTIVE_OPS:
        return f"augment.{'ada_p' if config.ada == 'none' else 'ada_max_p'}"
    fields = {"color": ["brightness", "saturation", "contrast"]}.get(op, [op])
    return " or ".join(f"augment.{field}" for field in [*fields, "probability"])


def _standardised(real: Tensor, other: Tensor) -> tuple[float, float]:
    """The difference of means over the pooled standard deviation, and its standard error."""
    variances = real.var().item(), other.var().item()
    spread = max(math.sqrt(sum(variances) / 2), _LEAST_SPREAD)
    error = math.sqrt(variances[0] / len(real) + variances[1] / len(other))
    return (other.mean() - real.mean()).item() / spread, error / spread


def _scatter(values_BK: Tensor) -> Tensor:
    """Each picture's distance from the median of its own kind (Brown and Forsythe 1974)."""
    return (values_BK - values_BK.median(dim=0).values).square().sum(dim=1).sqrt()


def _luma(images: Tensor) -> Tensor:
    return _scatter(images.mean(dim=(1, 2, 3))[:, None])


def _saturation(images: Tensor) -> Tensor:
    chroma = images - images.mean(dim=1, keepdim=True)
    return _scatter(chroma.norm(dim=1).mean(dim=(1, 2))[:, None])


def _contrast(images: Tensor) -> Tensor:
    return _scatter(images.mean(dim=1).flatten(1).std(dim=1)[:, None])


def _hue(images: Tensor) -> Tensor:
    return _scatter((images - images.mean(dim=1, keepdim=True)).mean(dim=(2, 3)))


def _balance(images: Tensor) -> Tensor:
    """Which side is lighter: moves as pictures turn."""
    light = images.mean(dim=1)
    spread = light.flatten(1).std(dim=1)[:, None] + _TINY
    place = torch.linspace(-1, 1, light.shape[-1])
    across, down = (light * place).mean(dim=(1, 2)), (light * place[:, None]).mean(dim=(1, 2))
    return _scatter(torch.stack([across, down], dim=1) / spread)


def _direction(images: Tensor) -> Tensor:
    """How edges lie: the structure tensor's orientation as a vector of twice its angle."""
    light = images.mean(dim=1)
    right, down = light.diff(dim=2)[:, 1:], light.diff(dim=1)[:, :, 1:]
    energy = (right.square() + down.square()).mean(dim=(1, 2)) + _TINY**2
    upright = (right.square() - down.square()).mean(dim=(1, 2)) / energy
    diagonal = (2 * right * down).mean(dim=(1, 2)) / energy
    return _scatter(torch.stack([upright, diagonal], dim=1))


def _border(images: Tensor) -> Tensor:
    """The blankest edge's share of blank pixels, less the middle's: an all-grey picture has 0."""
    blank = (images.abs().amax(dim=1) < BLANK).float()
    edges = [blank[:, 0], blank[:, -1], blank[:, :, 0], blank[:, :, -1]]
    part = slice(blank.shape[-1] // 4, -blank.shape[-1] // 4)
    middle = blank[:, part, part].mean(dim=(1, 2))
    return torch.stack([edge.mean(dim=1) for edge in edges]).amax(dim=0) - middle


def _holes(images: Tensor) -> Tensor:
    """The share of the picture that is the middle of a blank square."""
    lit = (images.abs().amax(dim=1) >= BLANK).float()
    return 1 - F.max_pool2d(lit, HOLE, stride=1).mean(dim=(1, 2))


class Symptom(NamedTuple):
    """What a person calls it, and how much of it each picture has: (B, 3, H, W) -> (B,)."""

    name: str
    degree: Callable[[Tensor], Tensor]
    least: float = 0.5
    """The least that speaks for a leak, in differences that the augmentation makes. Generators of
    other faults stay below: they scatter less than half as much, and paint grey by chance only,
    whereas one that has leaked paints it roughly."""


SYMPTOMS: dict[str, Symptom] = {
    "luma": Symptom("brightness", _luma),
    "contrast": Symptom("contrast", _contrast),
    "saturation": Symptom("saturation", _saturation),
    "hue": Symptom("hue", _hue),
    "balance": Symptom("which side is lighter", _balance),
    "direction": Symptom("the direction of edges", _direction),
    "border": Symptom("grey borders", _border, least=0.2),
    "holes": Symptom("grey holes", _holes, least=0.2),
}

OPS_SYMPTOMS: dict[str, tuple[str, ...]] = {
    "color": ("luma", "contrast", "saturation"),
    "translation": ("border",),
    "cutout": ("holes",),
    "bgc": ("luma", "hue", "balance", "direction"),
    "keras": ("balance", "direction"),
}
