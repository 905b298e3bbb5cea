"""Priors for the variance of a metric over seeds, for each family of metrics.

The luck of a seed is the difference between the value of one training and the mean over all seeds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class LuckPrior:
    """A scaled inverse chi-square prior for the variance of a training's value over seeds.

    `sd` is the typical standard deviation over seeds of the logarithm of the value. `strength` is
    the weight of the prior, in degrees of freedom; 0 means that there is no prior.
    """

    sd: float
    strength: float


# In recorded trainings with two seeds (benchmarks/confirmation.py --prior, and the library), sd is
# 0.02 to 0.08 for Frechet distances and 0.05 to 0.09 for kernel distances; in the longer ones, the
# strength is 4 or more. Here the strength is smaller, so that few verdicts are false even if the
# true sd is twice or half as large.
PRIORS = {"fd": LuckPrior(0.06, 2.0), "kd": LuckPrior(0.08, 2.0)}
NO_PRIOR = LuckPrior(0.0, 0.0)
_FAMILIES = {"fd": r"fid|fd_", "kd": r"kid|kd_"}


def prior_of(metric: str) -> LuckPrior:
    """Return the prior for the metric with this full name, e.g. fid5k_full.

    Only Frechet and kernel distances have a prior. The variance of other metrics over seeds was not
    measured, so they get `NO_PRIOR`.
    """
    matches = (family for family, pattern in _FAMILIES.items() if re.match(pattern, metric))
    return PRIORS.get(next(matches, ""), NO_PRIOR)
