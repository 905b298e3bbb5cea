"""Add expected values to the records of trials: what a new training is expected to reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.counting import counted
from fastgan_ray.metrics.names import fakes_error_name, value_of
from fastgan_ray.search.curves.ranking import CONFIDENCE, MIN_TRIALS, Expectation, is_ranked, rank
from fastgan_ray.search.curves.trials import Trial
from fastgan_ray.search.file.spec import SearchSpec, longest_kimg
from fastgan_ray.search.repeats import mean_values

Record = Mapping[str, Any]
Row = Mapping[str, Any]

# Keys of a trial's record: the expected value of a new training of the trial's configuration, the
# interval of this expected value, and the probability that no other tried configuration is better.
EXPECTED = ("expected", "expected_low", "expected_high", "best_chance")
TELLING = 0.5  # correlation with the end below which a value tells little
CURVES = 4  # number of best configurations whose expected learning curves are kept
# Outcomes that the trial's configuration caused: a sampler must avoid similar configurations.
INFEASIBLE = ("diverged", "out_of_memory")
RANKED = ("finished", "stopped", "unfinished")


def no_ranking(spec: SearchSpec, count: int) -> str:
    """Return why there are no expected values, or "". `count` trials have a value."""
    if spec.costs:
        return "a search with several metrics has no single best trial"
    if spec.population is not None:
        return "population-based training changes the settings during a trial"
    if count < MIN_TRIALS:
        return f"at least {counted(MIN_TRIALS, 'trial')} must have a value (got {count})"
    return ""


def with_expected(
    spec: SearchSpec, records: Sequence[Record], rows: Mapping[str, Sequence[Row]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the records with the keys in `EXPECTED`, and the entry "ranking" of summary.json.

    `rows` has the evaluations of each trial by its id. The keys in `EXPECTED` are None for a trial
    without a value, and for all trials if there is no ranking. The entry has these keys:
    - "note": why there is no ranking; "" if there is one.
    - "sentence": names the configuration with the best expected value; "" without a ranking.
    - "confidence": the probability of all intervals.
    - "curves": {trial id: [[kimg, value, low, high], ...]}, the expected learning curves of the
      best configurations, the best first; empty without a ranking.
    - "importances": {parameter: [share, low, high]}; empty without a ranking.
    - "correlations": [[kimg, correlation], ...], of values at these kimg with values at the end;
      empty without a ranking.
    - "early_values": what the correlations mean; "" without a ranking, or if there is only one
      evaluation.
    """
    known = [record for record in records if record["state"] in (*RANKED, *INFEASIBLE)]
    trials = [trial_of(spec, record, rows[record["trial_id"]]) for record in known]
    note = no_ranking(spec, sum(is_ranked(trial) for trial in trials))
    entry: dict[str, Any] = {"note": note, "sentence": "", "confidence": CONFIDENCE}
    nothing = dict.fromkeys(EXPECTED)
    ranking = None if note else rank(spec.space, trials, longest_kimg(spec))
    if ranking is None:
        empty = {"curves": {}, "importances": {}, "correlations": [], "early_values": ""}
        return [{**record, **nothing} for record in records], entry | empty
    sign = _sign(spec)
    expected = {
        record["trial_id"]: _fields(expectation, sign)
        for record, expectation in zip(known, ranking.expectations(), strict=True)
    }
    complete = [{**record, **expected.get(record["trial_id"], nothing)} for record in records]
    numbers = {record["trial_id"]: index for index, record in enumerate(known)}
    best = _best(spec, complete)
    curves = {
        trial_id: [
            [point.kimg, sign * point.value, *sorted((sign * point.low, sign * point.high))]
            for point in ranking.curve(numbers[trial_id])
        ]
        for trial_id in best
    }
    first = next(record for record in complete if record["trial_id"] == best[0])
    importances = {name: [*share] for name, share in ranking.importances().items()}
    correlations = ranking.correlations()
    parts = {
        "sentence": _sentence(spec, first),
        "curves": curves,
        "importances": importances,
        "correlations": [[*pair] for pair in correlations.items()],
        "early_values": early_values(correlations, longest_kimg(spec)),
    }
    return complete, entry | parts


def early_values(correlations: Mapping[float, float], total_kimg: float) -> str:
    """Say how much early values tell about values at the end; "" if there are no early values.

    `correlations` is {kimg: correlation with the values at `total_kimg`}.
    """
    early = {kimg: value for kimg, value in correlations.items() if kimg < total_kimg}
    if not early:
        return ""
    little = [kimg for kimg, value in early.items() if value < TELLING]
    first = min(early)
    if not little:
        return (
            f"Values at {first:g} kimg already tell much about the values at the end here "
            f"(correlation {early[first]:.2f})."
        )
    last, later = max(little), [kimg for kimg in early if kimg > max(little)]
    then = f"; at {later[0]:g} kimg, it is {early[later[0]]:.2f}" if later else ""
    return (
        f"Values up to {last:g} kimg tell little about the values at the end here (correlation "
        f"{early[last]:.2f} at {last:g} kimg{then})."
    )


def by_expected(spec: SearchSpec, records: Sequence[Record]) -> list[Record]:
    """Return `records` sorted by the expected value of a new training, the best first.

    Records without an expected value follow, sorted by the mean value of their configuration over
    the seeds that it was trained with. Records of the same configuration are sorted by value.
    """
    sign = _sign(spec)
    valued = [record for record in records if record["value"] is not None]
    ids = [record["trial_id"] for record in valued]
    means = dict(zip(ids, mean_values(valued), strict=True))

    def key(record: Record) -> tuple[bool, float, bool, float, str]:
        expected, value, name = record.get("expected"), record["value"], record["trial_id"]
        number = sign * (means[name] if expected is None else expected)
        return expected is None, number, value is None, sign * (value or 0.0), name

    return sorted(records, key=key)


def format_expected(record: Record) -> str:
    """Format an expected value with its interval, e.g. "213 [205, 221]"; "" if it is None."""
    if record.get("expected") is None:
        return ""
    return f"{record['expected']:.4g} [{record['expected_low']:.4g}, {record['expected_high']:.4g}]"


def format_chance(record: Record) -> str:
    """Format the probability of being the best, e.g. "46 %"; "" if it is None."""
    chance = record.get("best_chance")
    return "" if chance is None else "< 1 %" if chance < 0.01 else f"{100 * chance:.0f} %"


def _sentence(spec: SearchSpec, record: Record) -> str:
    return (
        f"If a configuration is trained again, that of trial {record['trial_id']} has the best "
        f"expected value: {spec.metric.name} {format_expected(record)} "
        f"({100 * CONFIDENCE:.0f} % interval). The probability that it is the best of the tried "
        f"configurations is {format_chance(record)}."
    )


def _best(spec: SearchSpec, records: Sequence[Record]) -> list[str]:
    """Return the ids of the trials with the `CURVES` best expected values.

    Of several trials with equal expected values (the same configuration), only one is returned.
    """
    ids: dict[float, str] = {}
    for record in by_expected(spec, [r for r in records if r["expected"] is not None]):
        ids.setdefault(record["expected"], record["trial_id"])
    return list(ids.values())[:CURVES]


def trial_of(spec: SearchSpec, record: Record, rows: Sequence[Row]) -> Trial:
    """Convert the record of a trial and its evaluations (`rows`) for the Gaussian process.

    The last value of a finished trial is that of its record, which may be the value of the trial's
    best checkpoint. If higher is better, the values are negated.
    """
    metric, sign = spec.metric.name, _sign(spec)
    evaluations = [
        (row["kimg"], value_of(row, metric), value_of(row, fakes_error_name(metric)))
        for row in rows
        if row["kimg"] > 0
    ]
    values = {kimg: sign * value for kimg, value, _ in evaluations if value is not None}
    errors = {kimg: error for kimg, _, error in evaluations if error is not None}
    if record["state"] == "finished" and record["value"] is not None:
        values[record["kimg"]] = sign * record["value"]
        if record["error"] is not None:
            errors[record["kimg"]] = record["error"]
    return Trial(
        record["point"],
        values,
        is_running=record["state"] == "unfinished",
        is_infeasible=record["state"] in INFEASIBLE,
        errors=errors,
    )


def _fields(expectation: Expectation | None, sign: int) -> dict[str, float | None]:
    if expectation is None:
        return dict.fromkeys(EXPECTED)
    low, high = sorted((sign * expectation.low, sign * expectation.high))
    return dict(
        zip(EXPECTED, (sign * expectation.value, low, high, expectation.chance), strict=True)
    )


def _sign(spec: SearchSpec) -> int:
    return 1 if spec.metric.goal == "minimize" else -1
