"""Compare arms with a baseline after each seed (a group-sequential test), and drop arms early.

This module is pure: it receives the values of the trainings that have ended, and returns the result
of each arm and which trainings are still needed. The same values always give the same decisions, so
an interrupted confirmation continues exactly where it was.

Test. It is Student's t-test for two independent samples. It is not paired by seed, because two
configurations are no more alike with the same seed than with different seeds
(benchmarks/confirmation.py). If all values of a test are positive, their logarithms are compared,
so the result does not depend on the metric's scale. The variance is moderated (Smyth 2004, "Linear
models and empirical Bayes methods for assessing differential expression"): it has a scaled inverse
chi-square prior (`luck.py`), which adds degrees of freedom. So a test is possible even with one
seed per arm. Without a prior, the variance is the usual pooled one.

Looks. A look is an interim analysis after some number of seeds. At each look, an arm gets a verdict
if its corrected p-value is below 1 - confidence. The correction is Bonferroni's: the p-value times
the number of arms, divided by the look's share of the error probability (`shares`). An arm is
dropped if it is unlikely to be called better at the last look. Dropping arms never raises the rate
of false verdicts, and dropped arms still count in the correction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from scipy.special import stdtr, stdtrit

from fastgan_ray.counting import counted
from fastgan_ray.search.luck import NO_PRIOR, LuckPrior
from fastgan_ray.search.relative import all_positive, percent, scaled
from fastgan_ray.search.statistics import Goal

Cell = tuple[str, int]  # an arm and a seed
Values = Mapping[str, Mapping[int, float | None]]  # {arm: {seed: value, or None if it failed}}

# The last look gets this share of the error probability, and the looks before it get equal parts of
# the rest. A first look at one seed gets nothing, because one collapsed training must not decide.
LAST_SHARE = 0.7
# An arm is dropped if the probability of the verdict "better" at the last look is below this.
UNLIKELY = 0.1


@dataclass(frozen=True)
class ArmResult:
    """The comparison of an arm with the baseline.

    `seeds` is the number of seeds at the arm's last look, to which `verdict` and `p` belong.
    `verdict` is "better", "worse", "indistinguishable", "not better" (dropped), "no verdict" (the
    note says why), or "" if the arm needs more trainings. `p` is two-sided and corrected for the
    number of arms and looks; it is None at a look without a test. `change` is the difference
    between the means of arm and baseline in percent of the baseline, from all values of both; if
    all values are positive, these are geometric means. `low` to `high` is its confidence interval,
    which is not corrected. Numbers that cannot be computed are None.
    """

    seeds: int = 0
    change: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    verdict: str = ""
    note: str = ""


@dataclass(frozen=True)
class Decision:
    """The results of all arms except the baseline, and the trainings that the next look needs."""

    arms: dict[str, ArmResult]
    needed: list[Cell]


@dataclass(frozen=True)
class Rules:
    """How a confirmation decides.

    `looks` are the numbers of seeds after which it decides, in increasing order; the last is the
    number of all seeds. `apart` maps each arm that must not be compared with the baseline by this
    metric to the reason. These arms get no verdict, and are trained with all seeds.
    """

    baseline: str
    goal: Goal
    seeds: Sequence[int]
    looks: Sequence[int]
    prior: LuckPrior = NO_PRIOR
    confidence: float = 0.95
    apart: Mapping[str, str] | None = None


def looks_one_by_one(seeds: int) -> list[int]:
    """Return the looks of a confirmation that decides after each of its seeds."""
    return list(range(1, seeds + 1))


def shares(looks: Sequence[int]) -> list[float]:
    """Return the share of the error probability that each look spends; the sum is 1."""
    free = [0.0 if look == 1 and len(looks) > 1 else 1.0 for look in looks]
    between = sum(free[:-1])
    if not between:
        return [*free[:-1], 1.0]
    return [*(part * (1 - LAST_SHARE) / between for part in free[:-1]), LAST_SHARE]


def decide(values: Values, rules: Rules) -> Decision:
    """Return the results of the arms, and the trainings that are still needed.

    `values` has an entry for each arm and the baseline, with the trainings that have ended. A value
    is None if the training failed. All looks are repeated in their order, each with the values of
    its seeds only, until one lacks a training. Raise ValueError if the baseline is missing or a
    value is not finite.
    """
    if rules.baseline not in values:
        raise ValueError(f"the baseline {rules.baseline!r} must be one of {list(values)}")
    _check_finite(values)
    apart = rules.apart or {}
    results = {arm: ArmResult() for arm in values if arm != rules.baseline}
    for index, look in enumerate(rules.looks):
        running = [arm for arm, result in results.items() if not result.verdict]
        has_pairs = any(arm not in apart for arm in running)
        arms = [*([rules.baseline] if has_pairs else []), *running]
        seeds = rules.seeds[:look]
        needed = [(arm, seed) for seed in seeds for arm in arms if seed not in values[arm]]
        if needed:
            break
        for arm in running:
            results[arm] = _look(arm, values, len(results), index, rules)
        leader = _leader(values, results, rules)
        for arm in running:
            if leader and not results[arm].verdict and arm not in apart:
                results[arm] = _behind(results[arm], arm, values, leader, rules)
    else:
        needed = []
    estimates = {arm: _with_interval(result, arm, values, rules) for arm, result in results.items()}
    return Decision(estimates, needed)


@dataclass(frozen=True)
class _Scaled:
    """Values of some arms, in the order of their seeds, for a comparison with each other.

    They are logarithms if `is_log` is true (see `relative.scaled`). Only then, `prior` is the prior
    of the rules, which is one for logarithms.
    """

    of: dict[str, list[float | None]]
    is_log: bool
    prior: LuckPrior


def _scale(values: Values, seeds: Mapping[str, Sequence[int]], rules: Rules) -> _Scaled:
    """Scale the values of some arms; `seeds` has the seeds of each. Other values do not matter.

    So a later training cannot change the result of an earlier look.
    """
    part = {arm: {seed: values[arm].get(seed) for seed in known} for arm, known in seeds.items()}
    is_log = all_positive(part)
    of = {arm: [*known.values()] for arm, known in scaled(part, rules.baseline, is_log).items()}
    return _Scaled(of, is_log, rules.prior if is_log else NO_PRIOR)


@dataclass(frozen=True)
class _Sample:
    """The statistics of the test: an arm's values against the baseline's.

    `gain` is the difference of the means, positive if the arm is better. `sd` is the moderated
    standard deviation of one training's value, with `df` degrees of freedom. `counts` are the
    numbers of values of arm and baseline.
    """

    gain: float
    sd: float
    df: float
    counts: tuple[int, int]

    def error(self, more: int = 0) -> float:
        """Return the standard error of the gain after `more` further seeds of both."""
        return self.sd * math.sqrt(sum(1 / (count + more) for count in self.counts))


def _sample(ours: list[float], theirs: list[float], goal: Goal, prior: LuckPrior) -> _Sample | None:
    """Compare two lists of values; None if one is empty or no degrees of freedom are left."""
    df = prior.strength + len(ours) + len(theirs) - 2
    if not ours or not theirs or df <= 0:
        return None
    squares = sum((value - fmean(part)) ** 2 for part in (ours, theirs) for value in part)
    sd = math.sqrt((prior.strength * prior.sd**2 + squares) / df)
    gain = (1 if goal == "minimize" else -1) * (fmean(theirs) - fmean(ours))
    return _Sample(gain, sd, df, (len(ours), len(theirs)))


def _look(arm: str, values: Values, count: int, index: int, rules: Rules) -> ArmResult:
    """Return the result of a running arm at the look `index`; `count` is the number of all arms."""
    look, is_last = rules.looks[index], index == len(rules.looks) - 1
    if reason := (rules.apart or {}).get(arm):
        return ArmResult(look, verdict="no verdict" if is_last else "", note=reason)
    seeds_of_look = rules.seeds[:look]
    known = _scale(values, {arm: seeds_of_look, rules.baseline: seeds_of_look}, rules)
    ours, theirs = known.of[arm], known.of[rules.baseline]
    failed, baseline_failed = _fails_alone(ours, theirs), _fails_alone(theirs, ours)
    sample = _sample(_numbers(ours), _numbers(theirs), rules.goal, known.prior)
    share, level = shares(rules.looks)[index], 1 - rules.confidence
    p = min(1.0, _p_value(sample) * count / share) if sample and share else None
    result = ArmResult(look, p=p)
    if sample and p is not None and p < level:
        verdict = "better" if sample.gain > 0 else "worse"
        alone = failed if verdict == "better" else baseline_failed
        if not alone:
            return replace(result, verdict=verdict)
        name = "the arm" if verdict == "better" else "the baseline"
        seeds = counted(alone, "seed")
        note = f"{verdict} without failed trainings, but in {seeds}, only {name} failed"
        return replace(result, verdict="no verdict", note=note)
    if is_last and sample:
        return replace(result, verdict="indistinguishable")
    if is_last:
        note = "too few trainings of the arm or the baseline have a value"
        return replace(result, verdict="no verdict", note=note)
    dropped = f"dropped after {counted(look, 'seed')}"
    if failed:
        note = f"{dropped}: in {counted(failed, 'seed')}, only the arm failed"
        return replace(result, verdict="no verdict", note=note)
    if sample and _chance_of_better(sample, count, look, rules) < UNLIKELY:
        note = f'{dropped}: the verdict "better" had become unlikely'
        return replace(result, verdict="not better", note=note)
    return result


def _p_value(sample: _Sample) -> float:
    """Return the two-sided p-value of the t-test, without a correction."""
    error, gain = sample.error(), abs(sample.gain)
    t = gain / error if error else math.inf if gain else 0.0
    return 2 * float(stdtr(sample.df, -t))


def _with_interval(result: ArmResult, arm: str, values: Values, rules: Rules) -> ArmResult:
    """Add the arm's change in percent and its interval, from all values of arm and baseline."""
    if arm in (rules.apart or {}):
        return result
    known = _scale(values, dict.fromkeys((arm, rules.baseline), rules.seeds), rules)
    ours, theirs = (_numbers(known.of[name]) for name in (arm, rules.baseline))
    sample = _sample(ours, theirs, rules.goal, known.prior)
    if not ours or not theirs:
        return result
    difference = fmean(ours) - fmean(theirs)
    result = replace(result, change=percent(difference, known.is_log))
    if sample is None:
        return result
    half = float(stdtrit(sample.df, (1 + rules.confidence) / 2)) * sample.error()
    low, high = (percent(difference + end, known.is_log) for end in (-half, half))
    return replace(result, low=low, high=high)


def _chance_of_better(sample: _Sample, count: int, look: int, rules: Rules) -> float:
    """Return the predictive probability of "better" at the last look (flat prior; `sd` stays)."""
    more = rules.looks[-1] - look
    tail = (1 - rules.confidence) * shares(rules.looks)[-1] / count / 2
    critical = -float(stdtrit(sample.df + 2 * more, tail))
    distance = sample.gain - critical * sample.error(more)
    return _probability(distance, math.sqrt(sample.error() ** 2 - sample.error(more) ** 2), sample)


def _leader(
    values: Values, results: Mapping[str, ArmResult], rules: Rules
) -> tuple[str, Sequence[int]] | None:
    """Return the best arm with the verdict "better", and its seeds; None if there is none."""
    seeds = {
        arm: rules.seeds[: result.seeds]
        for arm, result in results.items()
        if result.verdict == "better"
    }
    seeds_of_baseline = max(seeds.values(), key=len, default=rules.seeds[:1])
    known = _scale(values, {**seeds, rules.baseline: seeds_of_baseline}, rules)
    sign = 1 if rules.goal == "minimize" else -1
    best = min(seeds, key=lambda arm: (sign * fmean(_numbers(known.of[arm])), arm), default=None)
    return None if best is None else (best, seeds[best])


def _behind(
    result: ArmResult,
    arm: str,
    values: Values,
    leader: tuple[str, Sequence[int]],
    rules: Rules,
) -> ArmResult:
    """Drop an arm if its mean over all seeds is unlikely to become better than the leader's.

    `leader` is the leader's name and seeds. Its mean is final, because it gets no further seeds.
    """
    name, seeds_of_leader = leader
    seeds = rules.seeds[: result.seeds]
    known = _scale(values, {arm: seeds, name: seeds_of_leader, rules.baseline: seeds}, rules)
    ours, best = _numbers(known.of[arm]), fmean(_numbers(known.of[name]))
    sample = _sample(ours, _numbers(known.of[rules.baseline]), rules.goal, known.prior)
    if sample is None:
        return result
    gain = (1 if rules.goal == "minimize" else -1) * (best - fmean(ours))
    more = rules.looks[-1] - result.seeds
    spread = sample.sd * math.sqrt(1 / len(ours) - 1 / (len(ours) + more))
    if _probability(gain, spread, sample) >= UNLIKELY:
        return result
    note = f"dropped after {counted(result.seeds, 'seed')}: unlikely to become better than {name}"
    return replace(result, verdict="no verdict", note=note)


def _probability(distance: float, spread: float, sample: _Sample) -> float:
    """Return the probability that a t-variable of scale `spread` is below `distance`."""
    if not spread:
        return float(distance > 0)
    return float(stdtr(sample.df, distance / spread))


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _fails_alone(ours: Sequence[float | None], theirs: Sequence[float | None]) -> int:
    """Return the number of seeds in which only the training in `ours` failed."""
    pairs = zip(ours, theirs, strict=True)
    return sum(value is None and other is not None for value, other in pairs)


def _check_finite(values: Values) -> None:
    numbers = (value for arm in values.values() for value in arm.values() if value is not None)
    if wrong := [value for value in numbers if not math.isfinite(value)]:
        raise ValueError(f"values must be finite (got {wrong[0]})")
