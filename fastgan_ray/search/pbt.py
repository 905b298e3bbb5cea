"""Population-based training (Jaderberg et al. 2017): bad trials copy good ones and change settings.

This module is pure: it receives observations and returns decisions. Rungs are the multiples of
`every` kimg. At each rung, a trial is compared with all trials that have already passed this rung.
A trial in the worst `quantile` copies the weights and settings of a trial in the best `quantile`.
Then the settings that may change during training are perturbed. Trials need not run at the same
time. Ray's and Optuna's schedulers are not used, because they compare only trials that run at the
same time.
"""

from __future__ import annotations

import math
import random
from typing import Any

from fastgan_ray.config.strict_yaml import Value
from fastgan_ray.search.file.population import Population
from fastgan_ray.search.space import Parameter, SearchSpace, assign
from fastgan_ray.search.stopping import Observation

LOG_FACTORS = (0.8, 1.25)  # a logarithmic parameter is multiplied by one of these factors
LINEAR_STEP = 0.2  # any other range parameter moves up or down by this share of its range
RESAMPLE_CHANCE = 0.25  # the probability of a new random value instead of a perturbation


class PopulationBasedTraining:
    """Decides which trial copies which other trial, and how the copied settings change.

    Every random choice depends only on the seed, the trial and the rung, not on the order of calls.
    In observations, smaller values are better.
    """

    def __init__(
        self, population: Population, space: SearchSpace, total_kimg: float, trials: int, seed: int
    ) -> None:
        self.population = population
        self._space = space
        self._total_kimg = total_kimg
        self._max_donors = max(1, int(trials * population.quantile))
        self._seed = seed
        self._values_at: dict[int, dict[int, float]] = {}  # rung -> trial -> value
        self._last_kimg: dict[int, float] = {}

    def rung(self, kimg: float) -> int:
        """Return the number of the last rung at or before `kimg`; 0 before the first rung."""
        return math.floor(kimg / self.population.every + 1e-9)

    def passes_rung(self, observation: Observation) -> bool:
        """Return whether the trial has passed a rung since its last observation.

        The end of a training is not a rung.
        """
        last_kimg = self._last_kimg.get(observation.trial, 0.0)
        passed = self.rung(observation.kimg) > self.rung(last_kimg)
        return passed and observation.kimg < self._total_kimg

    def choose_donor(self, observation: Observation) -> int | None:
        """Record an observation; return the number of the trial to copy, or None to copy none."""
        trial, kimg = observation.trial, observation.kimg
        rung, passes_rung = self.rung(kimg), self.passes_rung(observation)
        self._last_kimg[trial] = max(kimg, self._last_kimg.get(trial, 0.0))
        if not passes_rung:
            return None
        values = self._values_at.setdefault(rung, {})
        values[trial] = observation.value
        best_first = sorted(values, key=lambda trial: (values[trial], trial))
        best = best_first[: int(len(values) * self.population.quantile)]
        worst = sorted(values, key=lambda trial: (-values[trial], trial))[: len(best)]
        if trial not in worst or trial in best:
            return None
        return self._rng(trial, rung).choice(best)

    def possible_donors(self, rung: int) -> list[int]:
        """Return the best trials at a rung, which other trials may copy; the best trial first.

        Until all trials have passed the rung, `choose_donor` may use only the first part of this
        list.
        """
        values = self._values_at.get(rung, {})
        return sorted(values, key=lambda trial: (values[trial], trial))[: self._max_donors]

    def perturb(self, point: dict[str, Any], trial: int, kimg: float) -> dict[str, Any]:
        """Return a donor's `point` with new values of the settings that may change in training.

        The result is a point of the space: a parameter that becomes active by a change gets a
        random value, and one that becomes inactive is left out. The random changes depend only on
        the seed, on `trial`, and on the rung at `kimg`.
        """
        rng = self._rng(trial, self.rung(kimg), "explore")

        def value(parameter: Parameter) -> Value:
            if parameter.name not in point:
                return parameter.sample(rng)
            old: Value = point[parameter.name]
            is_changed = parameter.name in self.population.change
            return _perturbed(parameter, old, rng) if is_changed else old

        return assign(self._space, value)

    def _rng(self, *key: object) -> random.Random:
        return random.Random(f"{self._seed}:{key}")


def _perturbed(parameter: Parameter, value: Any, rng: random.Random) -> Value:  # noqa: ANN401 - a number
    if rng.random() < RESAMPLE_CHANCE:
        return parameter.sample(rng)
    if parameter.values:
        index = parameter.values.index(value) + rng.choice((-1, 1))
        return parameter.values[min(max(index, 0), len(parameter.values) - 1)]
    if parameter.log:
        return parameter.snap(value * rng.choice(LOG_FACTORS))
    step = max(LINEAR_STEP * (parameter.high - parameter.low), parameter.q)
    return parameter.snap(value + rng.choice((-step, step)))
