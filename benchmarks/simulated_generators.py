"""Generators of known quality, made of real pictures: what a fake is, is known for each of them.

A data set's pictures are split at random into 99 for reference and training, R, and 99 others, H.
The best generator draws from H, each picture in VARIANTS variants; a worse one does something to
them, draws from fewer, or draws from R.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from simulated_pictures import simulated_features
from torch import Tensor

from fastgan_ray.config.data import DataConfig
from fastgan_ray.data.source import open_source
from fastgan_ray.metrics.extractors import load_extractor
from fastgan_ray.metrics.reference import Features, reference_features

EXTRACTOR = "efficientnet_lite0"
PICTURES = 198  # of each data set
HALF = PICTURES // 2
VARIANTS = 10
MANY_VARIANTS = 26  # of the best generator alone: 5,148 different fakes
KINDS = {  # what is done to a picture, and how strongly
    "blur 0.6": ("blur", 0.6),
    "blur 0.8": ("blur", 0.8),
    "noise": ("noise", 4.0),
    "tint": ("tint", 16.0),
    "crop": ("crop", 1.1),
    "ghost": ("ghost", 0.2),
    "melt": ("melt", 1.0),
}

Indices = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """Features (N, d) of pictures and of their mirror images; of variants, (N, variants, d)."""

    real: Features
    mirrored: Features
    kinds: dict[str, Features]
    many: Features  # the best generator's, MANY_VARIANTS of them
    rank: Indices  # of each picture along the reals' first principal component
    logits: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Draw:
    """A split, and latents: three numbers in [0, 1) for each fake."""

    training: Indices  # R
    others: Indices  # H
    latents: Shares  # (3, fakes): which picture, which variant, and whether it is made worse


Generator = Callable[[Pool, Draw], Features]


def load_pool(data: str) -> Pool:
    """All pictures' features, from the cache where they are."""
    config = DataConfig(path=data, limit=PICTURES)
    source = open_source(config)
    extractor = load_extractor(EXTRACTOR, torch.device("cpu"))
    assert extractor.logits is not None
    real = reference_features(source, config, extractor)
    mirrored = reference_features(source, config, extractor, mirrored=True)
    many = simulated_features(source, extractor, "none", 0.0, MANY_VARIANTS)
    kinds = {
        kind: simulated_features(source, extractor, name, amount, VARIANTS)
        for kind, (name, amount) in KINDS.items()
    }
    centred = real.astype(np.float64) - real.mean(axis=0)
    along = np.linalg.svd(centred, full_matrices=False)[0][:, 0]
    plain = {"plain": many[:, :VARIANTS]}
    return Pool(real, mirrored, plain | kinds, many, along.argsort().argsort(), extractor.logits)


def draw(rng: np.random.Generator, fakes: int) -> Draw:
    """A split and latents."""
    order = rng.permutation(PICTURES)
    return Draw(order[:HALF], order[HALF:], rng.random((3, fakes)))


def other_latents(drawn: Draw, rng: np.random.Generator) -> Draw:
    """The same split, and as many latents."""
    return Draw(drawn.training, drawn.others, rng.random(drawn.latents.shape))


def drawing(kind: str = "plain", share: float = 1.0) -> Generator:
    """Draws from H; this share of the fakes is of a kind, the rest plain."""

    def generate(pool: Pool, drawn: Draw) -> Features:
        chosen = _pick(drawn.others, drawn.latents[0])
        worse, plain = (_variants(pool, name, chosen, drawn) for name in (kind, "plain"))
        return np.where((drawn.latents[2] < share)[:, None], worse, plain)

    return generate


def of_modes(share: float) -> Generator:
    """Draws from this share of H alone: its first along the reals' first principal component."""

    def generate(pool: Pool, drawn: Draw) -> Features:
        ordered = drawn.others[np.argsort(pool.rank[drawn.others])]
        kept = ordered[: round(share * len(ordered))]
        return _variants(pool, "plain", _pick(kept, drawn.latents[0]), drawn)

    return generate


def of_few(pictures: int) -> Generator:
    """Draws from so many pictures of H alone."""

    def generate(pool: Pool, drawn: Draw) -> Features:
        return _variants(pool, "plain", _pick(drawn.others[:pictures], drawn.latents[0]), drawn)

    return generate


def copying(share: float, kind: str = "plain") -> Generator:
    """Draws this share of its fakes from R, the rest from H; all of them are of a kind."""

    def generate(pool: Pool, drawn: Draw) -> Features:
        copied, new = (_pick(part, drawn.latents[0]) for part in (drawn.training, drawn.others))
        chosen = np.where(drawn.latents[2] < share, copied, new)
        return _variants(pool, kind, chosen, drawn)

    return generate


def exact_copies(pool: Pool, drawn: Draw) -> Features:
    """Draws from R, without a change."""
    return pool.real[_pick(drawn.training, drawn.latents[0])]


def _pick(indices: Indices, at: Shares) -> Indices:
    return indices[(at * len(indices)).astype(np.int64)]


def _variants(pool: Pool, kind: str, chosen: Indices, drawn: Draw) -> np.ndarray[Any, Any]:
    return pool.kinds[kind][chosen, (drawn.latents[1] * VARIANTS).astype(np.int64)]
