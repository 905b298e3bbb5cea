"""Early stopping: rules that look at trials' values by kimg and say which trials end.

Pure: a rule is a plain description, its judge what it has seen. Smaller values are better here.
Whoever has several rules asks `Judges`: a trial ends when any of them says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np


class Observation(NamedTuple):
    """A trial's evaluation: its number, position, value (smaller is better) and standard error."""

    trial: int
    kimg: float
    value: float
    error: float = 0.0


class StoppingRule(Protocol):
    """Takes in each reading once, in the order in which they come."""

    def decide(self, reading: Observation) -> str:
        """Why the trial ends now; nothing = it goes on."""


@dataclass(frozen=True)
class Halving:
    """Successive halving, asynchronous (ASHA, Li et al. 2018): compare at rungs, keep the best.

    Trials are compared at `min_iter` kimg, and each `eta` times later; the best 1/eta go on. No
    rung lies at or past `max_iter` kimg (None = the trial's length). With several `brackets`
    (Hyperband) trials are dealt to them, and each bracket begins a rung later than the one before.
    `revisit`: a trial that passed a rung when few had come there is looked at again whenever it
    reports, and ends once it is no longer among the best of all that have come there since; without
    it, as in ASHA itself, those that come first always go on.
    """

    min_iter: float
    eta: float = 3.0
    max_iter: float | None = None
    brackets: int = 1
    tolerance: float = 0.0
    revisit: bool = True

    def rungs(self, total_kimg: float) -> list[float]:
        """The kimg at which a trial of that length is compared, of the first bracket."""
        end = min(total_kimg, self.max_iter or total_kimg)
        rungs, rung = [], self.min_iter
        while rung < end:
            rungs.append(rung)
            rung *= self.eta
        return rungs

    def describe(self, total_kimg: float) -> str:
        """The rule in words, of trials of that length."""
        if not self.rungs(total_kimg):
            return (
                f"never: trials end at {total_kimg:g} kimg, before the first rung at "
                f"{self.min_iter:g}"
            )
        dealt = f", dealt to {self.brackets} brackets" if self.brackets > 1 else ""
        return f"from {self.min_iter:g} kimg, the best 1/{self.eta:g} go on{dealt}"


@dataclass(frozen=True)
class Median:
    """Median stopping (Golovin et al. 2017): end a trial whose best is worse than the usual.

    From `min_iter` kimg on its best value so far must not be worse than the median, over at least
    `min_trials` others that came as far, of their mean value up to there.
    """

    min_iter: float
    min_trials: int = 3
    tolerance: float = 0.0

    def describe(self, total_kimg: float) -> str:
        """The rule in words."""
        return f"from {self.min_iter:g} kimg, trials whose best is worse than the median end"


@dataclass(frozen=True)
class Patience:
    """End a trial that has not improved for `kimg` thousands of images."""

    kimg: float
    tolerance: float = 0.0

    def describe(self, total_kimg: float) -> str:
        """The rule in words."""
        return f"after {self.kimg:g} kimg without improvement"


Rule: TypeAlias = Halving | Median | Patience


class HalvingRule:
    """Holds what was recorded at each bracket's rungs; a late row counts at the last rung it has
    passed, and the first trial at a rung goes on."""

    def __init__(self, rule: Halving, total_kimg: float) -> None:
        self._rule = rule
        rungs = rule.rungs(total_kimg)
        self._brackets = [rungs[first:] for first in range(max(1, min(rule.brackets, len(rungs))))]
        self._recorded: dict[tuple[int, float], dict[int, Observation]] = {}

    def decide(self, reading: Observation) -> str:
        """Why the trial is not among the best at a rung that it has passed."""
        bracket = self.bracket(reading.trial)
        passed = [rung for rung in self._brackets[bracket] if rung <= reading.kimg]
        if not passed:
            return ""
        newest = self._recorded.setdefault((bracket, passed[-1]), {})
        new = reading.trial not in newest
        newest.setdefault(reading.trial, reading)
        looked_at = passed[::-1] if self._rule.revisit else passed[-1:] if new else []
        reasons = (self._compare(reading.trial, bracket, rung) for rung in looked_at)
        return next(filter(None, reasons), "")

    def _compare(self, trial: int, bracket: int, rung: float) -> str:
        recorded = self._recorded.get((bracket, rung), {})
        others = [one.value for number, one in recorded.items() if number != trial]
        if trial not in recorded or not others:
            return ""
        own, eta = recorded[trial], self._rule.eta
        if own.value <= float(np.percentile(others, 100 / eta)) + self._rule.tolerance * own.error:
            return ""
        return f"not among the best 1/{eta:g} of {len(others)} others at {rung:g} kimg"

    def bracket(self, trial: int) -> int:
        """Which bracket a trial is dealt to: eta times as many to one as to the next."""
        weights = [self._rule.eta**-index for index in range(len(self._brackets))]
        counts = [0] * len(weights)
        for number in range(trial + 1):
            dealt = min(
                range(len(weights)), key=lambda i: ((counts[i] + 1) / weights[i], -weights[i])
            )
            counts[dealt] += 1
            if number == trial:
                return dealt
        raise AssertionError(trial)


class MedianRule:
    """Holds every trial's readings."""

    def __init__(self, rule: Median, total_kimg: float) -> None:
        self._rule = rule
        self._readings: dict[int, list[Observation]] = {}

    def decide(self, reading: Observation) -> str:
        """Why the trial's best is worse than usual here."""
        own = self._readings.setdefault(reading.trial, [])
        own.append(reading)
        others = [
            float(np.mean([one.value for one in rows if one.kimg <= reading.kimg]))
            for trial, rows in self._readings.items()
            if trial != reading.trial and rows[0].kimg <= reading.kimg <= rows[-1].kimg
        ]
        if reading.kimg < self._rule.min_iter or len(others) < self._rule.min_trials:
            return ""
        best, usual = min(one.value for one in own), float(np.median(others))
        if best <= usual + self._rule.tolerance * reading.error:
            return ""
        return f"its best is worse than the median of {len(others)} others here"


class PatienceRule:
    """Holds every trial's best reading."""

    def __init__(self, rule: Patience, total_kimg: float) -> None:
        self._rule = rule
        self._best: dict[int, Observation] = {}

    def decide(self, reading: Observation) -> str:
        """Why the trial has waited long enough."""
        best = self._best.setdefault(reading.trial, reading)
        if reading.value < best.value:
            self._best[reading.trial] = reading
            return ""
        if reading.value <= best.value + self._rule.tolerance * reading.error:
            return ""
        waited = reading.kimg - best.kimg
        if waited < self._rule.kimg and not math.isclose(waited, self._rule.kimg):
            return ""
        return f"no better than at {best.kimg:g} kimg"


class StoppingRules:
    """Asks every rule's judge; a reading that comes again, as after a restart, is ignored."""

    def __init__(self, rules: Sequence[Rule], total_kimg: float) -> None:
        self._judges = [STOPPING_RULES[type(rule)](rule, total_kimg) for rule in rules]
        self._seen: dict[int, float] = {}

    def decide(self, reading: Observation) -> str:
        """Why the trial ends now, by the first rule that says so; nothing = it goes on."""
        if reading.kimg <= self._seen.get(reading.trial, 0.0):
            return ""
        self._seen[reading.trial] = reading.kimg
        reasons = [judge.decide(reading) for judge in self._judges]
        return next((reason for reason in reasons if reason), "")


STOPPING_RULES: dict[type, Callable[..., StoppingRule]] = {
    Halving: HalvingRule,
    Median: MedianRule,
    Patience: PatienceRule,
}
