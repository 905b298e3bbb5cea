"""Compare the arms of an ablation on each of several data sets, and over all data sets.

Absolute differences on different data sets cannot be averaged: a data set with values near 150
would outweigh a data set with values near 10. So differences are changes in percent of the
baseline.

Three seeds on one data set are not three data sets. So in the comparison over all data sets, the
data set is a random effect: each data set counts once, with the mean change over its seeds, and
Student's t-test uses the spread between data sets. The test asks whether the arm is better on
*other data sets like these*. The test needs at least two data sets. With only two, a change is
significant only if it is almost the same on both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fastgan_ray.search.relative import all_positive, percent, scaled
from fastgan_ray.search.statistics import (
    Comparison,
    Difference,
    Goal,
    compare,
    compare_differences,
    paired_difference,
)

Values = Mapping[str, Mapping[tuple[str, int], float | None]]


def compare_on_sets(
    values: Values, baseline: str, goal: Goal, confidence: float = 0.95
) -> tuple[dict[str, Comparison], dict[str, dict[str, Comparison]]]:
    """Compare every arm with the baseline, over all data sets and on each data set.

    Return two mappings: {arm: comparison over all data sets}, and {arm: {data set: comparison on
    this data set}}. The baseline is not a key of these mappings.

    `values` maps each arm to {(data set, seed): value}, as in `statistics.compare`. All differences
    (mean, low, high) are changes in percent of the baseline. If all values are positive, the
    changes are computed from mean log ratios. Otherwise (a kernel distance can be 0 or negative),
    the changes are mean differences divided by the baseline's mean absolute value on the data set.

    The comparisons on one data set pair trainings with the same seed. Their p-values are corrected
    for the number of arms. In the comparisons over data sets, `difference.pairs` is the number of
    data sets.
    """
    sets = list(dict.fromkeys(name for arm in values.values() for name, _ in arm))
    is_log = all_positive(values)
    on_set = {
        name: compare(scaled(_of_set(values, name), baseline, is_log), baseline, goal, confidence)
        for name in sets
    }
    changes = {
        arm: [change for name in sets if (change := on_set[name][arm].difference.mean) is not None]
        for arm in values
        if arm != baseline
    }
    over_sets = compare_differences(
        {arm: paired_difference(of_arm, confidence) for arm, of_arm in changes.items()},
        values,
        baseline,
        goal,
        confidence,
        unit="data sets",
    )
    return (
        {arm: _in_percent(over_sets[arm], is_log) for arm in changes},
        {arm: {name: _in_percent(on_set[name][arm], is_log) for name in sets} for arm in changes},
    )


def _of_set(values: Values, name: str) -> dict[str, dict[int, float | None]]:
    return {
        arm: {seed: value for (data, seed), value in of_arm.items() if data == name}
        for arm, of_arm in values.items()
    }


def _in_percent(comparison: Comparison, is_log: bool) -> Comparison:
    """Convert the differences in a comparison to changes in percent.

    The differences are log ratios if `is_log` is True, else fractions.
    """
    found = comparison.difference
    difference = Difference(
        found.pairs,
        percent(found.mean, is_log),
        percent(found.low, is_log),
        percent(found.high, is_log),
        found.p,
    )
    return replace(comparison, difference=difference)
