"""Compute the content of ablation.json: the numbers and the verdict of each arm.

A trial is a dict. Its keys are "rows", "protocol", and the names in COLUMNS. "data" is the name of
the data set (see `data_name`), and "rows" are the rows of the trial's metrics.jsonl.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fastgan_ray.config.feature_networks import shared_data_of, why_not_ranked
from fastgan_ray.metrics.names import MOMENTS, best_name, error_name, fakes_error_name
from fastgan_ray.metrics.protocol import protocol_differences
from fastgan_ray.report.data.evaluation_error import evaluation_error
from fastgan_ray.search.ablation import AblationSpec, arm_config, data_name
from fastgan_ray.search.confirmation import ended_values
from fastgan_ray.search.data_sets import compare_on_sets
from fastgan_ray.search.sequential import ArmResult, Rules, decide
from fastgan_ray.search.statistics import Comparison, compare, mean_and_sd, no_verdict

Trial = dict[str, Any]

CONFIDENCE = 0.95
ERRORS_APART = 2.0  # in standard errors; evaluation noise alone can cause any difference below this
FAILED = ("diverged", "out_of_memory", "failed")
COLUMNS = (
    *("trial_id", "arm", "data", "seed", "state", "value", "kimg", "seconds", "reason"),
    *MOMENTS,
)
# Keys of a row that `_other_metrics` leaves out, because they do not measure quality. Keys with a /
# are training numbers; of these, only TRAINING_NUMBERS are included.
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
    "orders",
)
TRAINING_NUMBERS = ("augment/p", "regan/sparsity", "regan/flops_share", "regan/gflop_g")


def summarise(
    spec: AblationSpec,
    name: str,
    trials: Sequence[Trial],
    gflop: Mapping[str, float],
    rules: Rules | None = None,
) -> dict[str, Any]:
    """Return the content of ablation.json.

    `name` is the name of the run. `trials` are all trials of the ablation. `gflop` maps each arm to
    the GFLOP per image of a training step. `rules` is None, except for a confirmation: it compares
    its arms by these rules, and its differences are in percent.
    """
    metric = spec.metric
    arm_trials = {arm: [trial for trial in trials if trial["arm"] == arm] for arm in spec.arms}
    several = len(spec.data) > 1
    name_of = best_name if spec.compare == "best" else str
    error_key = name_of(fakes_error_name(metric.name))
    error = evaluation_error(_finished(trials), error_key, spec.baseline if several else None)
    arms = _arms(spec, arm_trials, gflop, error, rules)
    # Ignore "shared_data": it depends on the discriminator of an arm, not only on the evaluation.
    protocols, warnings = _protocols([_without_shared_data(trial) for trial in trials])
    return {
        "name": name,
        "metric": {"name": metric.name, "goal": metric.goal},
        "compare": spec.compare,
        "baseline": spec.baseline,
        "confidence": CONFIDENCE,
        "differences": "percent" if several or rules else "metric",
        "data": [data_name(data) for data in spec.data],
        "seeds": list(spec.seeds),
        "protocol": protocols,
        "warnings": warnings,
        **({"looks": list(rules.looks)} if rules else {}),
        "arms": arms,
        "trials": [
            {**{key: trial[key] for key in COLUMNS}, "warning": _warning(trial)} for trial in trials
        ],
    }


def _arms(
    spec: AblationSpec,
    arm_trials: Mapping[str, Sequence[Trial]],
    gflop: Mapping[str, float],
    error: float | None,
    rules: Rules | None,
) -> list[dict[str, Any]]:
    """Return the entry of each arm in ablation.json.

    `error` is the standard error of a metric value from one evaluation, or None if it is unknown.
    `rules` are the rules of a confirmation, or None.
    """
    metric, several = spec.metric, len(spec.data) > 1
    values = {arm: values_of(arm_trials[arm]) for arm in spec.arms}
    shared = {arm: shared_data_of(arm_config(spec, arm).model_dump()) for arm in spec.arms}
    why = {arm: why_not_ranked(shared[arm], shared[spec.baseline]) for arm in spec.arms}
    ranked = {arm: of_arm for arm, of_arm in values.items() if not why[arm]}
    if several:
        comparisons, on_sets = compare_on_sets(ranked, spec.baseline, metric.goal, CONFIDENCE)
    else:
        comparisons, on_sets = compare(ranked, spec.baseline, metric.goal, CONFIDENCE), {}
    comparisons |= {arm: no_verdict(why[arm]) for arm in spec.arms if why[arm]}
    flat = {
        arm: _flat(comparison, error, _pairs(values, spec, arm), " %" if several else "")
        for arm, comparison in comparisons.items()
    }
    if rules:
        trials = (trial for of_arm in arm_trials.values() for trial in of_arm)
        results = decide(ended_values(spec.arms, trials), rules).arms
        flat = {arm: _of_result(result) for arm, result in results.items()}
    other = "best" if spec.compare == "last" else "last"
    other_values = {arm: values_of(arm_trials[arm], f"{other}_value") for arm in spec.arms}
    return [
        {
            "name": arm,
            "settings": settings,
            "shared_data": shared[arm],
            "by_data": _by_data(spec, values[arm], on_sets.get(arm, {})),
            "other_moment": _by_data(spec, other_values[arm], {}),
            "states": _states(arm_trials[arm]),
            "comparison": flat.get(arm),
            "gflop_per_image": gflop[arm],
            **_costs(arm_trials[arm], arm_config(spec, arm).train.images_per_step),
            "other_metrics": _other_metrics(arm_trials[arm], metric.name),
        }
        for arm, settings in spec.arms.items()
    ]


def _of_result(result: ArmResult) -> dict[str, Any]:
    """Return the comparison of an arm of a confirmation; its p-value is already corrected."""
    return {
        "pairs": result.seeds,
        "mean": result.change,
        **{key: getattr(result, key) for key in ("low", "high", "p", "note")},
        "verdict": result.verdict or "undecided",
    }


def values_of(trials: Iterable[Trial], key: str = "value") -> dict[tuple[str, int], float | None]:
    """Return {(data set, seed): value} of an arm's trials; `key` is the value's key in a trial.

    The value of a failed trial is None. Trials that have not ended are left out.
    """
    return {
        (trial["data"], trial["seed"]): trial[key] if trial["state"] == "finished" else None
        for trial in trials
        if trial["state"] in ("finished", *FAILED)
    }


def _by_data(
    spec: AblationSpec,
    values: Mapping[tuple[str, int], float | None],
    comparisons: Mapping[str, Comparison],
) -> list[dict[str, Any]]:
    """Return the results of an arm: {"data", "seeds", "mean", "sd", "comparison"} per data set.

    "seeds" is the number of values in the mean. "comparison" compares the arm with the baseline. It
    is None if the data set is not in `comparisons`.
    """
    parts = []
    for data in map(data_name, spec.data):
        numbers = [v for (name, _), v in values.items() if name == data and v is not None]
        mean, sd = mean_and_sd(numbers)
        comparison = _flat(comparisons[data], None) if data in comparisons else None
        part = {"data": data, "seeds": len(numbers), "mean": mean, "sd": sd}
        parts.append({**part, "comparison": comparison})
    return parts


def _states(trials: Sequence[Trial]) -> dict[str, int]:
    """Return {state: number of trials} of an arm."""
    states = [trial["state"] for trial in trials]
    return {state: states.count(state) for state in dict.fromkeys(states)}


def _pairs(
    values: Mapping[str, Mapping[tuple[str, int], float | None]], spec: AblationSpec, arm: str
) -> list[int]:
    """Return the number of pairs of an arm and the baseline with a value, on each data set."""
    both = [
        data
        for (data, seed), value in values[arm].items()
        if value is not None and values[spec.baseline].get((data, seed)) is not None
    ]
    return [both.count(data) for data in dict.fromkeys(both)]


def _flat(
    comparison: Comparison, error: float | None, pairs: Sequence[int] = (), unit: str = ""
) -> dict[str, Any]:
    """Return a comparison as one flat mapping, with a note if the difference is doubtful.

    A difference is doubtful if evaluation noise alone can cause it. `error` is the standard error
    of one evaluation, in the unit of the difference; `unit` is the name of this unit. `pairs` are
    the numbers of pairs on each data set. The difference is the mean of the means on the data sets.
    """
    fields = asdict(comparison)
    difference: dict[str, Any] = fields.pop("difference")
    if comparison.verdict in ("better", "worse") and error is not None:
        # The largest mean difference that the evaluation latents alone can cause.
        noise = ERRORS_APART * error * math.sqrt(2 * sum(1 / n for n in pairs)) / len(pairs)
        if abs(difference["mean"]) < noise:
            fields["note"] = (
                "doubtful, because the evaluation error alone can cause a difference of "
                f"{noise:.2g}{unit} (with {sum(pairs)} pairs), and the measured "
                f"difference is only {abs(difference['mean']):.3g}{unit}; add seeds or raise "
                "eval.num_fakes"
            )
    return difference | fields


def _costs(trials: Sequence[Trial], images_per_step: int) -> dict[str, Any]:
    """Return parameter counts, mean speed and highest memory of an arm; None for unknown values.

    The speed is in images per second and, as in table 1 of Liu et al. 2021, in hours for 10,000
    steps.
    """
    speed, _ = mean_and_sd(_last_values(trials, "images_per_second"))
    return {
        "hours_per_10k_steps": 10_000 * images_per_step / speed / 3600 if speed else None,
        "params_g": next(iter(_last_values(trials, "params_g")), None),
        "params_d": next(iter(_last_values(trials, "params_d")), None),
        "images_per_second": speed,
        "peak_memory_gb": max(_last_values(trials, "peak_memory_gb"), default=None),
    }


def _other_metrics(trials: Sequence[Trial], metric: str) -> dict[str, dict[str, Any]]:
    """Return {name: {"seeds", "mean", "sd"}} for every metric except `metric`.

    "mean" and "sd" are over the last evaluations of the finished trials. "seeds" is the number of
    these values.
    """
    finished = _finished(trials)
    names = dict.fromkeys(key for trial in finished for key in trial["rows"][-1])
    metrics = {}
    for name in names:
        of_training = "/" in name and name not in TRAINING_NUMBERS
        if of_training or name in (metric, *NO_METRICS) or _is_error(name, names):
            continue
        values = _last_values(finished, name)
        numbers = [value for value in values if isinstance(value, int | float)]
        mean, sd = mean_and_sd(numbers)
        if numbers:
            metrics[name] = {"seeds": len(numbers), "mean": mean, "sd": sd}
    return metrics


def _finished(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial["state"] == "finished"]


def _last_values(trials: Sequence[Trial], key: str) -> list[Any]:
    """Return the value of `key` in each trial's last row; skip trials without it."""
    rows = [trial["rows"][-1] for trial in trials if trial["rows"]]
    return [row[key] for row in rows if row.get(key) is not None]


def _is_error(name: str, names: Iterable[str]) -> bool:
    return any(name in (error_name(of), fakes_error_name(of), f"{of}_sd") for of in names)


def _warning(trial: Trial) -> str:
    """Return the warning of a trial's last evaluation, or "" if there is none."""
    return str(trial["rows"][-1].get("warning", "")) if trial["rows"] else ""


def _without_shared_data(trial: Trial) -> Trial:
    protocol = {key: value for key, value in trial["protocol"].items() if key != "shared_data"}
    return {**trial, "protocol": protocol}


def _protocols(trials: Sequence[Trial]) -> tuple[dict[str, Any], list[str]]:
    """Return {data set: protocol of its first trial}, and warnings.

    There is a warning for each trial whose protocol differs from the protocol of its data set.
    """
    protocols: dict[str, dict[str, Any]] = {}
    warnings = []
    for trial in trials:
        if not trial["protocol"]:
            continue
        first = protocols.setdefault(trial["data"], trial["protocol"])
        if differences := protocol_differences(first, trial["protocol"]):
            warnings.append(
                f"trial {trial['trial_id']} cannot be compared with the first trial on "
                f"{trial['data']}, because the trials were measured differently: "
                f"{'; '.join(differences)}"
            )
    return protocols, warnings
