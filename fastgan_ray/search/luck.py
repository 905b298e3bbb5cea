"""What is known of the luck of a seed before the first training: priors by family of metrics."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Prior:
    """A prior for the variance of a training's value over seeds: scaled inverse chi-square.

    `sd` is the typical standard deviation of the logarithm of the value over seeds. `strength` is
    the weight of this knowledge, in degrees of freedom.
    """

    sd: float
    strength: float


# The recorded second seeds (benchmarks/confirmation.py --prior) have .04 to .08 (Frechet distance)
# and .06 to .09 (kernel distance), with a strength of 4 or more. The strength here is smaller, so
# that the verdicts are right with twice or half the luck, too.
PRIORS = {"fd": Prior(0.06, 2.0), "kd": Prior(0.08, 2.0)}
NO_PRIOR = Prior(0.0, 0.0)
_FAMILIES = {"fd": r"fid|fd_", "kd": r"kid|kd_"}


def prior_of(metric: str) -> Prior:
    """Return the prior for the metric with this full name, e.g. fid5k_full.

    Only Frechet and kernel distances have a prior, because the luck of other metrics was not
    measured.
    """
    matches = (family for family, pattern in _FAMILIES.items() if re.match(pattern, metric))
    return PRIORS.get(next(matches, ""), NO_PRIOR)
