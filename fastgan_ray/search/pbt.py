"""Population-based training (Jaderberg et al. 2017): the worst go on from the best, changed a bit.

Pure. Whenever a trial passes a multiple of `every` kimg it is compared with all that passed there
before it; one in the worst `quantile` takes over the weights, and the settings, of one in the best,
and then changes those settings that a network in training can bear to have changed. Trials need not
run at the same time.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

from fastgan_ray.config.strict_yaml import Value
from fastgan_ray.search.space import Parameter, SearchSpace
from fastgan_ray.search.stopping import Observation

FACTORS = (0.8, 1.25)  # of a value on a logarithmic scale
STEP = 0.2  # of the range, otherwise
RESAMPLED = 0.25  # chance of a new value altogether
# Of these sections, what may change in mid-training: numbers, but no counts of pictures.
CHANGEABLE = ("train.", "augment.", "regan.")
FIXED = ("train.batch_size", "train.d_steps", "train.total_kimg", "train.seed")


@dataclass(frozen=True)
class Population:
    """When trials are compared, and what changes: names of searched parameters."""

    every: float
    quantile: float = 0.25
    change: tuple[str, ...] = ()

    def describe(self) -> str:
        """The rule in words."""
        return (
            f"every {self.every:g} kimg, those in the worst {self.quantile:.0%} go on from one of "
            f"the best, with other {', '.join(self.change)}"
        )


def changeable(space: SearchSpace) -> list[str]:
    """The searched parameters that a network in training can bear to have changed."""
    return [
        parameter.name
        for parameter in space
        if parameter.name.startswith(CHANGEABLE)
        and parameter.name not in FIXED
        and parameter.size != 1
        and all(isinstance(value, int | float) for value in parameter.values)
        and not any(isinstance(value, bool) for value in parameter.values)
    ]


class PopulationBasedTraining:
    """Who takes over from whom; every draw is a function of the seed, the trial and the rung."""

    def __init__(
        self, rule: Population, space: SearchSpace, total_kimg: float, trials: int, seed: int
    ) -> None:
        self._rule = rule
        self._space = space
        self._total = total_kimg
        self._most = max(1, int(trials * rule.quantile))
        self._seed = seed
        self._passed: dict[int, dict[int, float]] = {}  # value by trial, at each rung
        self._seen: dict[int, float] = {}

    def rung(self, kimg: float) -> int:
        """How many comparisons lie at or before this position."""
        return math.floor(kimg / self._rule.every + 1e-9)

    def passes(self, reading: Observation) -> bool:
        """Whether the trial passes a rung with this reading; not at its end."""
        before = self._seen.get(reading.trial, 0.0)
        return self.rung(reading.kimg) > self.rung(before) and reading.kimg < self._total

    def donor(self, reading: Observation) -> int | None:
        """Take in a reading; the trial that this one goes on from, None = from itself."""
        rung, passes = self.rung(reading.kimg), self.passes(reading)
        self._seen[reading.trial] = max(reading.kimg, self._seen.get(reading.trial, 0.0))
        if not passes:
            return None
        passed = self._passed.setdefault(rung, {})
        passed[reading.trial] = reading.value
        best = self.best(rung)
        worst = sorted(passed, key=lambda trial: (-passed[trial], trial))[: len(best)]
        if reading.trial not in worst or reading.trial in best or not best:
            return None
        return self._rng(reading.trial, rung).choice(best)

    def best(self, rung: int) -> list[int]:
        """The trials from which others may go on at a rung, the best first."""
        return self.promising(rung)[: int(len(self._passed.get(rung, {})) * self._rule.quantile)]

    def promising(self, rung: int) -> list[int]:
        """The trials that are, or may yet be, among the best at a rung, the best first."""
        passed = self._passed.get(rung, {})
        return sorted(passed, key=lambda trial: (passed[trial], trial))[: self._most]

    def perturb(self, point: dict[str, Any], trial: int, kimg: float) -> dict[str, Any]:
        """A donor's point, changed a little, inside the space."""
        rng = self._rng(trial, self.rung(kimg), "explore")
        return {
            parameter.name: _changed(parameter, point[parameter.name], rng)
            if parameter.name in self._rule.change
            else point[parameter.name]
            for parameter in self._space
            if parameter.name in point
        }

    def _rng(self, *key: object) -> random.Random:
        return random.Random(f"{self._seed}:{key}")


def _changed(parameter: Parameter, value: Any, rng: random.Random) -> Value:  # noqa: ANN401 - numbers are added to it
    if rng.random() < RESAMPLED:
        return parameter.sample(rng)
    if parameter.values:
        index = parameter.values.index(value) + rng.choice((-1, 1))
        return parameter.values[min(max(index, 0), len(parameter.values) - 1)]
    if parameter.log:
        return parameter.snap(value * rng.choice(FACTORS))
    step = max(STEP * (parameter.high - parameter.low), parameter.q)
    return parameter.snap(value + rng.choice((-step, step)))
