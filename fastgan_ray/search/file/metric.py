"""The key `metric`: the metric that compares trials or arms; a search may have several metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import Field, PlainValidator, ValidationInfo, field_validator

from fastgan_ray.config.evaluation import EvalConfig
from fastgan_ray.config.messages import format_value, suggestion
from fastgan_ray.config.rules import broken
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.metrics.names import Goal, full_name, metric_family, same_metric, searchable
from fastgan_ray.search.file.section import FileContext, FileSection, context_of, read_each

# Costs of a trial that a search may use as further metrics: name in the trial's rows -> goal.
COSTS: dict[str, Goal] = {
    "params_g": "minimize",
    "params_d": "minimize",
    "gflop_g": "minimize",
    "images_per_second": "maximize",
    "peak_memory_gb": "minimize",
}


METRIC_KEY = "eval.metric"  # the file's key `metric` sets it


CANNOT_BE_MEASURED = (
    "cannot be measured, because eval.extractor is none; set eval.extractor to a feature network"
)


class Metric(FileSection):
    """A metric, its goal, and the target at which a search ends.

    `name` is the full name in the trainer's reports, such as fid5k_full; a file may use a short
    name, such as fid.
    """

    name: str = Field(
        description="name of the metric, such as fid, kid or precision_k5; the second and later "
        f"metrics of a list may also be costs: {', '.join(COSTS)}"
    )
    goal: Goal = Field(
        "minimize",
        description="goal for the metric: minimize = lower values are better; maximize = higher "
        "values are better. The key may be left out, because each metric has only one possible "
        "goal",
    )
    target: float | None = Field(
        None,
        description="the search ends when a trial reaches this value; null = the search ends at "
        "run_cap",
    )

    @field_validator("name")
    @classmethod
    def _is_measured(cls, name: str, info: ValidationInfo) -> str:
        """Replace a short name by the full name; raise an error if the metric is not measured."""
        if info.context is None:
            return name
        goals, protocol = info.context
        full = full_name(name, protocol)
        if full not in goals:
            raise broken(_name_rule(name, goals, protocol))
        return full

    @field_validator("goal")
    @classmethod
    def _is_the_right_way(cls, goal: Goal, info: ValidationInfo) -> Goal:
        name = info.data.get("name")  # None if not valid
        if info.context is not None and name is not None and goal != info.context[0][name]:
            right_goal = info.context[0][name]
            smaller_or_greater = "smaller" if right_goal == "minimize" else "greater"
            raise broken(
                f"must be {right_goal}, because a {smaller_or_greater} {name} is better "
                f"(got {format_value(goal)})"
            )
        return goal


def metric_setting(metric: Metric, base: Mapping[str, Any]) -> dict[str, Any]:
    """Return {"eval.metric": value}, the setting that makes `metric` the main metric of a training.

    `base` has the other settings of the training, which must be valid.
    """
    return {METRIC_KEY: metric_family(metric.name, RunConfig.model_validate(base).eval)}


def under_protocol(metric: Metric, before: EvalConfig, after: EvalConfig) -> Metric:
    """Return `metric` with a new full name, for the evaluation settings `after`.

    The present full name is for the settings `before`. If the new name is different, the result has
    no target, because new values cannot be compared with the old target.
    """
    name = same_metric(metric.name, before, after) or metric.name  # costs keep their names
    return (
        metric if name == metric.name else metric.model_copy(update={"name": name, "target": None})
    )


def _read_metrics(value: object, info: ValidationInfo) -> tuple[Metric, ...]:
    """Read one metric or a list of metrics, with full names.

    The first metric compares trials, and early stopping uses it.
    """
    context = context_of(info)
    protocol = context.config.eval
    goals, names = searchable(protocol), list[str]()

    def read(index: int, entry: object) -> Metric:
        known = {**goals, **COSTS} if index else goals
        metric = _read(entry, known, protocol)
        if index == 0:
            _check_setting(metric, context)
        if metric.name in names:
            raise broken(f"{metric.name} is already in the list", "name")
        if index and metric.target is not None:
            raise broken("only the first metric may have a target", "target")
        names.append(metric.name)
        return metric

    if isinstance(value, list) and value:
        return tuple(read_each(dict(enumerate(value)), read).values())
    return (read(0, value),)


def _read_metric(value: object, info: ValidationInfo) -> Metric:
    context = context_of(info)
    protocol = context.config.eval
    metric = _read(value, searchable(protocol), protocol)
    _check_setting(metric, context)
    if metric.target is not None:
        raise broken("a target is possible only in a search; remove it", "target")
    return metric


def _read(entry: object, goals: Mapping[str, Goal], protocol: EvalConfig) -> Metric:
    """Return the metric of an entry, with its full name and its goal.

    Raise an error if the metric is not in `goals`.
    """
    if protocol.extractor == "none":
        raise broken(CANNOT_BE_MEASURED)
    if isinstance(entry, str):
        rule = f"must be a mapping such as {{name: {entry}}}"
        raise broken(f"{rule} (got {format_value(entry)})")
    metric = Metric.model_validate(entry, context=(goals, protocol))
    return metric.model_copy(update={"goal": goals[metric.name]})


def _check_setting(metric: Metric, context: FileContext) -> None:
    """Raise an error if eval.metric, in `base` or --set, differs from the file's key `metric`."""
    setting = {**context.base, **context.overrides}.get(METRIC_KEY)
    if setting is not None and setting != metric_family(metric.name, context.config.eval):
        raise broken(
            f"is {metric.name}, but {METRIC_KEY} is {setting}; remove {METRIC_KEY}, because the "
            "file's key metric sets it"
        )


def _name_rule(name: str, goals: Mapping[str, Goal], protocol: EvalConfig) -> str:
    names = ", ".join(goals)
    rule = (
        f"must be one of {names}, which the eval settings in base measure (got "
        f"{format_value(name)})"
    )
    if name.startswith(("fid", "kid")) and protocol.extractor == next(iter(goals))[3:]:
        return f"{rule}; to measure {name[:3].upper()}, set eval.extractor: inception"
    if name.startswith(("fd_", "kd_")):
        return f"{rule}; to measure with this network, set eval.extractor: {name[3:]}"
    if name.startswith(("fid", "kid")):
        return (
            f"{rule}; write {name[:3]}, and set eval.num_fakes to the number of generated pictures"
        )
    return rule + suggestion(name, (*goals, "fid", "kid"))


Metrics: TypeAlias = Annotated[
    tuple[Metric, ...], PlainValidator(_read_metrics, json_schema_input_type=Metric | list[Metric])
]
OneMetric: TypeAlias = Annotated[
    Metric, PlainValidator(_read_metric, json_schema_input_type=Metric)
]
