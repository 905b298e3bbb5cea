"""An ablation's trials to its account: every arm's numbers and its verdict, as plain data.

A trial is {"trial_id", "arm", "data", "seed", "state", "value", "kimg", "seconds", "reason",
"rows", "protocol"}: `data` as `data_name` has it, `rows` those of its metrics.jsonl.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fastgan_ray.metrics.names import error_name, fakes_error_name
from fastgan_ray.metrics.protocol import protocol_differences
from fastgan_ray.search.ablation import AblationSpec, data_name
from fastgan_ray.search.statistics import Comparison, compare, mean_and_sd

Trial = dict[str, Any]

CONFIDENCE = 0.95
ERRORS_AWAY = 2.0  # a difference of less may be evaluation alone
FAILED = ("diverged", "out_of_memory", "failed")
COLUMNS = ("trial_id", "arm", "data", "seed", "state", "value", "kimg", "seconds", "reason")
# Numbers of a row that are no measure of quality; nor are those of training, with a / in the name,
# but for a few.
TOLD = ("augment/p", "regan/sparsity", "regan/flops_share")
NO_METRICS = (
    "kimg",
    "images_shown",
    "total_kimg",
    "seconds",
    "images_per_second",
    "params_g",
    "params_d",
    "gflop_g",
    "peak_memory_gb",
    "num_fakes",
)


def summarise(
    spec: AblationSpec, name: str, trials: Sequence[Trial], gflop: Mapping[str, float]
) -> dict[str, Any]:
    """The content of ablation.json. `gflop`: of a training step per image, by arm."""
    metric = spec.metric
    values = {arm: values_of(_of(trials, arm)) for arm in spec.arms}
    comparisons = compare(values, spec.baseline, metric.goal, CONFIDENCE)
    protocols, warnings = _protocols(trials)
    error = _evaluation_error(trials, metric.name)
    arms = [
        {
            "name": arm,
            "settings": settings,
            "by_data": _by_data(spec, values[arm]),
            "states": _states(_of(trials, arm)),
            "comparison": _flat(comparisons[arm], error) if arm in comparisons else None,
            "gflop_per_image": gflop[arm],
            **_costs(_of(trials, arm)),
            "also": _also(_of(trials, arm), metric.name),
        }
        for arm, settings in spec.arms.items()
    ]
    return {
        "name": name,
        "metric": {"name": metric.name, "goal": metric.goal},
        "baseline": spec.baseline,
        "confidence": CONFIDENCE,
        "data": [data_name(data) for data in spec.data],
        "seeds": list(spec.seeds),
        "protocol": protocols,
        "warnings": warnings,
        "arms": arms,
        "trials": [
            {**{key: trial[key] for key in COLUMNS}, "warning": _warning(trial)} for trial in trials
        ],
    }


def values_of(trials: Sequence[Trial]) -> dict[tuple[str, int], float | None]:
    """An arm's value by (data set, seed): None where it failed, nothing where it has not ended."""
    ended = [trial for trial in trials if trial["state"] in ("finished", *FAILED)]
    return {
        (trial["data"], trial["seed"]): trial["value"] if trial["state"] == "finished" else None
        for trial in ended
    }


def _of(trials: Sequence[Trial], arm: str) -> list[Trial]:
    return [trial for trial in trials if trial["arm"] == arm]


def _by_data(
    spec: AblationSpec, values: Mapping[tuple[str, int], float | None]
) -> list[dict[str, Any]]:
    """Mean and standard deviation over the seeds of each data set."""
    rows = []
    for data in map(data_name, spec.data):
        found = [value for (own, _), value in values.items() if own == data and value is not None]
        mean, sd = mean_and_sd(found)
        rows.append({"data": data, "seeds": len(found), "mean": mean, "sd": sd})
    return rows


def _states(trials: Sequence[Trial]) -> dict[str, int]:
    """How many of an arm's trials are in each state."""
    counts: dict[str, int] = {}
    for trial in trials:
        counts[trial["state"]] = counts.get(trial["state"], 0) + 1
    return counts


def _flat(comparison: Comparison, error: float | None) -> dict[str, Any]:
    found = asdict(comparison)
    difference: dict[str, Any] = found.pop("difference")
    if comparison.verdict in ("better", "worse") and error is not None:
        # What other latents alone would change in the mean of the pairs' differences.
        own = error * math.sqrt(2 / difference["pairs"])
        if abs(difference["mean"]) < ERRORS_AWAY * own:
            found["note"] = (
                f"by {abs(difference['mean']):.3g}, where the evaluations' own error alone may "
                f"make {ERRORS_AWAY * own:.2g}: {difference['pairs']} pairs that agree so well may "
                "be chance; add seeds, or raise eval.num_fakes"
            )
    return difference | found


def _evaluation_error(trials: Sequence[Trial], metric: str) -> float | None:
    """An evaluation's own standard error: the root mean square over what has finished."""
    last = [trial["rows"][-1] for trial in trials if trial["state"] == "finished" and trial["rows"]]
    errors = _told(last, fakes_error_name(metric))
    return math.sqrt(sum(error**2 for error in errors) / len(errors)) if errors else None


def _costs(trials: Sequence[Trial]) -> dict[str, Any]:
    """Parameters, mean speed and highest memory; None for what no row tells."""
    last = [trial["rows"][-1] for trial in trials if trial["rows"]]
    speed, _ = mean_and_sd(_told(last, "images_per_second"))
    return {
        "params_g": next(iter(_told(last, "params_g")), None),
        "params_d": next(iter(_told(last, "params_d")), None),
        "images_per_second": speed,
        "peak_memory_gb": max(_told(last, "peak_memory_gb"), default=None),
    }


def _warning(trial: Trial) -> str:
    """What its last evaluation warned of, as of augmentation in generated pictures."""
    return str(trial["rows"][-1].get("warning", "")) if trial["rows"] else ""


def _told(rows: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    return [row[key] for row in rows if row.get(key) is not None]


def _also(trials: Sequence[Trial], metric: str) -> dict[str, dict[str, Any]]:
    """Whatever else the last evaluations measured: count, mean and standard deviation."""
    rows = [trial["rows"][-1] for trial in trials if trial["state"] == "finished"]
    names = dict.fromkeys(key for row in rows for key in row)
    skipped = (metric, *NO_METRICS)
    found = {}
    for name in names:
        if ("/" in name and name not in TOLD) or name in skipped or _is_error(name, names):
            continue
        numbers = [value for value in _told(rows, name) if isinstance(value, int | float)]
        mean, sd = mean_and_sd(numbers)
        if numbers:
            found[name] = {"seeds": len(numbers), "mean": mean, "sd": sd}
    return found


def _is_error(name: str, names: Mapping[str, None]) -> bool:
    return any(name in (error_name(one), fakes_error_name(one), f"{one}_sd") for one in names)


def _protocols(trials: Sequence[Trial]) -> tuple[dict[str, Any], list[str]]:
    """The metric's protocol on each data set, and a sentence for each that is not the same."""
    protocols: dict[str, Any] = {}
    warnings = []
    for trial in trials:
        found: dict[str, Any] = trial["protocol"]
        if not found:
            continue
        first: dict[str, Any] = protocols.setdefault(trial["data"], found)
        if differences := protocol_differences(first, found):
            warnings.append(
                f"trial {trial['trial_id']} was measured otherwise than the first on "
                f"{trial['data']}, so that they do not compare: {'; '.join(differences)}"
            )
    return protocols, warnings
