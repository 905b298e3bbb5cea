"""Make a library of the trials of another search (`--from`), of which only the ranks are known."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.stats import norm

from fastgan_ray.search.curves.trials import LENGTH, Trial
from fastgan_ray.search.file.spec import SearchSpec, longest_kimg
from fastgan_ray.search.knowledge.learn import learn
from fastgan_ray.search.knowledge.library import DataSet, Library
from fastgan_ray.search.warm_start import EarlierTrial

MIN_TRIALS = 3  # from fewer trials, nothing is learned
SPREAD = 0.1  # standard deviation of the logarithms of the values that stand for the ranks


def earlier_library(earlier_trials: Sequence[EarlierTrial], spec: SearchSpec) -> Library | None:
    """Return a library of the trials of another search; None if there are fewer than `MIN_TRIALS`.

    The values of the trials were measured on other pictures or at another size, so only their ranks
    are used. Each rank is replaced by the expected value of a normal distribution at this rank.
    """
    if len(earlier_trials) < MIN_TRIALS:
        return None
    longest, count = longest_kimg(spec), len(earlier_trials)
    trials = []
    for earlier in earlier_trials:
        value = math.exp(SPREAD * norm.ppf((earlier.rank + 0.5) / count))
        trials.append(Trial(earlier.point, {earlier.point.get(LENGTH, longest): value}))
    return learn(spec, [DataSet("--from", "the trials of another search", 0, None, trials)])
