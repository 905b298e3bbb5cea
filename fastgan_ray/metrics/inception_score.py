"""Compute the Inception score: how clear and how varied pictures are, by a classifier.

This module does not use torch-fidelity, because torch-fidelity returns NaN if there are fewer
pictures than splits, or if a class has probability 0. Its import also takes seconds in each trial.
In all other cases, this module and torch-fidelity give the same scores to 1e-9.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from fastgan_ray.metrics.checks import check_features

SPLITS = 10  # as in the published score; the score increases with the number of pictures in a split


def inception_score(logits: npt.ArrayLike, splits: int = SPLITS) -> tuple[float, float]:
    """Compute the Inception score of each split; return the scores' mean and standard deviation.

    The score of a split is exp(mean KL divergence of p(class | picture) from p(class)), from 1 to
    the number of classes. A split is a block of consecutive rows; there are at most as many splits
    as rows. The standard deviation divides by the number of splits, as in the published score.

    logits: (n, classes), n at least 2: a classifier's outputs before the softmax. Raises ValueError
    for another shape, fewer rows, a non-finite value, or splits below 1. Source: Salimans et al.
    2016, section 4.
    """
    rows = check_features("logits", logits)
    if splits < 1:
        raise ValueError(f"splits must be at least 1 (got {splits})")
    log_p = log_softmax(rows, axis=1)
    count = min(splits, len(rows))
    edges = [len(rows) * index // count for index in range(count + 1)]
    scores = [_score(log_p[start:end]) for start, end in itertools.pairwise(edges)]
    return float(np.mean(scores)), float(np.std(scores))


def _score(log_p: npt.NDArray[np.float64]) -> float:
    p = np.exp(log_p)
    # If a class has probability 0 for every picture (underflow), its p log p is 0.
    log_mean = np.log(np.maximum(p.mean(axis=0), np.finfo(np.float64).tiny))
    return float(np.exp((p * (log_p - log_mean)).sum(axis=1).mean()))
