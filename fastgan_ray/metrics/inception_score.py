"""How sharp and how varied a classifier finds generated pictures."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from fastgan_ray.metrics.checks import checked

SPLITS = 10  # as published; the score grows with the pictures in a split


def inception_score(logits: npt.ArrayLike, splits: int = SPLITS) -> tuple[float, float]:
    """Mean over splits, and standard deviation, of exp(mean KL of p(class | picture) to p(class)).

    From 1 to the number of classes. Splits are runs of neighbouring rows, at most one a row, and
    the deviation is that of the splits as they are (divided by their number), as the field has it.

    logits: (n, classes), n at least 2, of a classifier before its softmax.
    Raises ValueError for another shape, fewer rows, a non-finite value, or splits below 1.
    Source: Salimans et al. 2016, section 4.
    """
    rows = checked("logits", logits)
    if splits < 1:
        raise ValueError(f"splits must be at least 1 (got {splits})")
    log_p = log_softmax(rows, axis=1)
    count = min(splits, len(rows))
    edges = [len(rows) * index // count for index in range(count + 1)]
    scores = [_score(log_p[start:end]) for start, end in itertools.pairwise(edges)]
    return float(np.mean(scores)), float(np.std(scores))


def _score(log_p: npt.NDArray[np.float64]) -> float:
    p = np.exp(log_p)
    # Where every picture's probability underflows to 0, p log p is 0 whatever the logarithm.
    log_mean = np.log(np.maximum(p.mean(axis=0), np.finfo(np.float64).tiny))
    return float(np.exp((p * (log_p - log_mean)).sum(axis=1).mean()))
