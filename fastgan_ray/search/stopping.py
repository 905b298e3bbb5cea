"""Early stopping: rules that compare the values of trials and decide which trials end.

This module is pure: it receives observations and returns decisions. The classes `Hyperband`,
`Median`, `Patience` and `Chance` in the package `search.file` are the settings of the rules.
`HyperbandRule`, `MedianRule`, `PatienceRule` and `ChanceRule` apply these settings and store the
observations. Smaller values are better. If a search has several rules, a trial ends as soon as one
rule ends it.

Ray's schedulers are not used, for two reasons. They do not compare a trial again at a rung that it
has already passed (`revisit`). They cannot take into account how much values differ by chance
(`tolerance`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from fastgan_ray.counting import counted
from fastgan_ray.search.curves.chance import forecast
from fastgan_ray.search.curves.trials import Trial
from fastgan_ray.search.file.early_terminate import (
    ROUNDING,
    Chance,
    Hyperband,
    Median,
    Patience,
    Rule,
)


class Observation(NamedTuple):
    """One evaluation of a trial: number of the trial (from 0), kimg, and value of the metric.

    Smaller values are better. `error` is the standard error of the value, `difference` the standard
    deviation of the difference between the values of two trainings of the trial's configuration.
    """

    trial: int
    kimg: float
    value: float
    error: float = 0.0
    difference: float = 0.0


class StoppingRule(Protocol):
    """A rule for early stopping.

    It must receive every observation exactly once, in the order in which trials report them.
    """

    def decide(self, observation: Observation) -> str:
        """Return the reason to end the trial now, or "" if the trial continues."""


class HyperbandRule:
    """The Hyperband rule. At each rung, it compares the trials of a bracket and ends the bad ones.

    A report between two rungs counts for the last rung that the trial has passed. The first trial
    at a rung continues, because there is no other trial to compare it with.
    """

    def __init__(self, settings: Hyperband, total_kimg: float) -> None:
        self._settings = settings
        rungs = settings.rungs(total_kimg)
        brackets = max(1, min(settings.brackets, len(rungs)))
        self._brackets = [rungs[first:] for first in range(brackets)]
        # (bracket, rung) -> trial -> the trial's first observation at this rung
        self._observations: dict[tuple[int, float], dict[int, Observation]] = {}

    def decide(self, observation: Observation) -> str:
        """Return the reason to end the trial if it is not among the best at a rung, or else ""."""
        bracket = self.bracket(observation.trial)
        kimg = observation.kimg * (1 + ROUNDING)
        passed = [rung for rung in self._brackets[bracket] if rung <= kimg]
        if not passed:
            return ""
        newest = self._observations.setdefault((bracket, passed[-1]), {})
        is_new = observation.trial not in newest
        newest.setdefault(observation.trial, observation)
        rungs = passed[::-1] if self._settings.revisit else passed[-1:] if is_new else []
        reasons = (self._compare(observation.trial, bracket, rung) for rung in rungs)
        return next(filter(None, reasons), "")

    def _compare(self, trial: int, bracket: int, rung: float) -> str:
        observations = self._observations.get((bracket, rung), {})
        others = [other.value for number, other in observations.items() if number != trial]
        if trial not in observations or not others:
            return ""
        observation, eta = observations[trial], self._settings.eta
        limit = float(np.percentile(others, 100 / eta))
        if observation.value <= limit + self._settings.tolerance * observation.difference:
            return ""
        trials = counted(len(others), "other trial")
        return f"not among the best 1/{eta:g} at {rung:g} kimg (compared with {trials})"

    def bracket(self, trial: int) -> int:
        """Return the bracket of a trial, from 0.

        Each bracket has eta times as many trials as the next bracket.
        """
        weights = [self._settings.eta**-index for index in range(len(self._brackets))]
        counts = [0] * len(weights)
        bracket = 0
        for _ in range(trial + 1):
            bracket = min(
                range(len(weights)), key=lambda i: ((counts[i] + 1) / weights[i], -weights[i])
            )
            counts[bracket] += 1
        return bracket


class MedianRule:
    """The median rule. It compares a trial's best value with the mean values of other trials."""

    def __init__(self, settings: Median, total_kimg: float) -> None:
        self._settings = settings
        self._observations: dict[int, list[Observation]] = {}

    def decide(self, observation: Observation) -> str:
        """Return the reason to end the trial if its best value is too bad, or else "".

        The best value is too bad if it is worse than the median of the other trials' mean values up
        to the same kimg.
        """
        kimg = observation.kimg
        trial_history = self._observations.setdefault(observation.trial, [])
        trial_history.append(observation)
        means = [
            float(np.mean([other.value for other in history if other.kimg <= kimg]))
            for trial, history in self._observations.items()
            if trial != observation.trial and history[0].kimg <= kimg <= history[-1].kimg
        ]
        if kimg < self._settings.min_iter or len(means) < self._settings.min_trials:
            return ""
        best, median = min(other.value for other in trial_history), float(np.median(means))
        if best <= median + self._settings.tolerance * observation.difference:
            return ""
        return (
            "its best value is worse than the median of the mean values of "
            f"{counted(len(means), 'other trial')}"
        )


class PatienceRule:
    """The patience rule. It compares the latest values of a trial with the trial's best value."""

    def __init__(self, settings: Patience, total_kimg: float) -> None:
        self._settings = settings
        self._best: dict[int, Observation] = {}

    def decide(self, observation: Observation) -> str:
        """Return the reason to end the trial if it has not improved for too long, or else ""."""
        best = self._best.setdefault(observation.trial, observation)
        if observation.value < best.value:
            self._best[observation.trial] = observation
            return ""
        if observation.value <= best.value + self._settings.tolerance * observation.error:
            return ""
        kimg = observation.kimg - best.kimg
        if kimg < self._settings.kimg and not math.isclose(kimg, self._settings.kimg):
            return ""
        return f"no improvement since {best.kimg:g} kimg"


class ChanceRule:
    """The chance rule: ends a trial that is unlikely to end among the best (see `Chance`)."""

    def __init__(self, settings: Chance, total_kimg: float) -> None:
        self._settings = settings
        self._total_kimg = total_kimg
        self._observations: dict[int, list[Observation]] = {}

    def decide(self, observation: Observation) -> str:
        """Return a reason to end the trial if its chance is too small; else ""."""
        settings, kimg, total = self._settings, observation.kimg, self._total_kimg
        self._observations.setdefault(observation.trial, []).append(observation)
        ended = sum(history[-1].kimg >= total for history in self._observations.values())
        if kimg < settings.first_kimg or kimg >= total or ended < settings.min_trials:
            return ""
        trials = sorted(self._observations)
        curves = [_curve(self._observations[trial]) for trial in trials]
        predicted = forecast(curves, total, settings.best)
        chance = float(predicted.chances[trials.index(observation.trial)])
        if chance >= settings.probability:
            return ""
        return (
            f"its chance to end among the best {settings.best:.0%} is {chance:.1%} (values at "
            f"{kimg:g} kimg have the correlation {predicted.correlations[kimg]:.2f} with the "
            f"values at the end, in {counted(len(trials), 'trial')})"
        )


def _curve(history: Sequence[Observation]) -> Trial:
    values = {observation.kimg: observation.value for observation in history}
    errors = {observation.kimg: observation.error for observation in history}
    return Trial({}, values, errors=errors)


class StoppingRules:
    """All stopping rules of a search. A trial ends as soon as one rule ends it.

    After a restart, trials report some observations again; these are ignored.
    """

    def __init__(self, rules: Sequence[Rule], total_kimg: float) -> None:
        self._rules = [STOPPING_RULES[type(rule)](rule, total_kimg) for rule in rules]
        self._last_kimg: dict[int, float] = {}

    def decide(self, observation: Observation) -> str:
        """Return the reason of the first rule that ends the trial, or "" if the trial continues."""
        if observation.kimg <= self._last_kimg.get(observation.trial, 0.0):
            return ""
        self._last_kimg[observation.trial] = observation.kimg
        # Every rule must receive the observation, even if an earlier rule ends the trial.
        reasons = [rule.decide(observation) for rule in self._rules]
        return next(filter(None, reasons), "")


STOPPING_RULES: dict[type, Callable[..., StoppingRule]] = {
    Hyperband: HyperbandRule,
    Median: MedianRule,
    Patience: PatienceRule,
    Chance: ChanceRule,
}
