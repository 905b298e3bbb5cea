"""A search file beside its `parameters` and stopping rules: the metric and the plain options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fastgan_ray.config.run_config import EvalConfig, RunConfig
from fastgan_ray.config.strict_yaml import Document, Value, format_value, suggestion
from fastgan_ray.metrics.names import Goal, full_name, same_metric, searchable
from fastgan_ray.search.file.parameters import is_int, is_number

Method = Literal["grid", "random", "bayes"]
Place = tuple[str | int, ...]  # keys and positions from the top of the file

KEYS = (
    "name",
    "description",
    "method",
    "metric",
    "run_cap",
    "budget",
    "sampler",
    "early_terminate",
    "population",
    "confirm",
    "seed",
    "base",
    "parameters",
)
# By method, the default first. Which of them learn from trials that were stopped early, and which
# take one metric only, is in docs/search.md.
SAMPLERS: dict[Method, tuple[str, ...]] = {
    "bayes": ("tpe", "gp", "cmaes", "nsga2", "nsga3"),
    "random": ("random", "qmc"),
    "grid": (),
}
SINGLE = ("cmaes",)  # samplers that take one metric
# What a trial costs, as rows have it: a second metric of a search.
COSTS: dict[str, Goal] = {
    "params_g": "minimize",
    "params_d": "minimize",
    "gflop_g": "minimize",
    "images_per_second": "maximize",
    "peak_memory_gb": "minimize",
}
# Keys of W&B's sweeps that mean nothing here.
REFUSED_OF_WANDB = {
    "program": "the program is always this one",
    "command": "the program is always this one",
    "controller": "it runs here, not on W&B's server",
    "job": "it runs here, not on W&B's server",
    "image_uri": "it runs here, not on W&B's server",
    "entity": "set WANDB_ENTITY instead",
    "project": "set WANDB_PROJECT instead",
}
REFUSED = {
    **REFUSED_OF_WANDB,
    "baseline": "it belongs to an ablation, not to a search",
    "arms": "it belongs to an ablation, not to a search",
    "seeds": "it belongs to an ablation, not to a search; `seed` is the search's own",
}


@dataclass(frozen=True)
class Metric:
    """What the search optimises, under the name that the trainer reports (`fid5k_full`).

    `target`: the search ends once a trial is as good as this; None = it runs to its cap.
    """

    name: str
    goal: Goal = "minimize"
    target: float | None = None


def check_keys(
    document: Document, what: str, keys: Sequence[str], refused: Mapping[str, str]
) -> None:
    """Note top-level keys that `what` ("a search") has not; of `refused` ones, why."""
    for key in document.data:
        if key in refused:
            text = f"{key}: is not supported: {refused[key]}"
        elif key not in keys:
            hint = suggestion(key, keys) or f"; the keys are {', '.join(keys)}"
            text = f"{key}: is no key of {what}{hint}"
        else:
            continue
        document.faults.add(document.line(key), text)


def read_method(document: Document) -> Method:
    """`method`, random where it is at fault."""
    for method in ("grid", "random", "bayes"):
        if document.data.get("method") == method:
            return method
    given = document.data.get("method")
    rule = f"must be grid, random or bayes (got {format_value(given)})"
    note(document, ("method",), rule + suggestion(str(given), ("grid", "random", "bayes")))
    return "random"


def read_name(document: Document, default: str) -> str:
    """`name`, which names a folder."""
    if "name" not in document.data:
        return re.sub(r"[^A-Za-z0-9._-]+", "-", default).strip(".-_") or "unnamed"
    name = document.data["name"]
    if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        return name
    rule = "must be 1 to 100 letters, digits, '.', '_', '-', as it names a folder"
    note(document, ("name",), f"{rule} (got {format_value(name)})")
    return default


def read_description(document: Document) -> str:
    """`description`, or else the comment at the top of the file."""
    given = document.data.get("description")
    if isinstance(given, str):
        return given
    if given is not None:
        note(document, ("description",), f"must be text (got {format_value(given)})")
    lines = []
    for line in document.text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return "\n".join(lines).strip()


def read_whole(document: Document, key: str, least: int) -> int | None:
    """A whole number of at least `least` and under 2**31, or None where it is left out."""
    value = document.data.get(key)
    if value is None and key not in document.data:
        return None
    if is_int(value) and least <= value < 2**31:
        return value
    note(
        document, (key,), f"must be a whole number of at least {least} (got {format_value(value)})"
    )
    return None


def read_metric(document: Document, base: RunConfig) -> Metric:
    """`metric`, named as the trainer reports it under `base`; `fid` and `kid` are short forms."""
    given, goals = document.data.get("metric"), searchable(base.eval)
    read = _read_metric(document, ("metric",), given, goals, base)
    return read or Metric(next(iter(goals)))


def read_metrics(document: Document, base: RunConfig) -> tuple[Metric, ...]:
    """`metric`, which may be a list: the first is what trials are stopped and judged by.

    The others may also be what a trial costs, as params_g or images_per_second.
    """
    given, goals = document.data.get("metric"), searchable(base.eval)
    if not isinstance(given, list) or not given:
        return (read_metric(document, base),)
    first = _read_metric(document, ("metric", 0), given[0], goals, base)
    metrics = [first or Metric(next(iter(goals)))]
    for index, one in enumerate(given[1:], start=1):
        metric = _read_metric(document, ("metric", index), one, {**goals, **COSTS}, base)
        if metric is None:
            continue
        if any(metric.name == known.name for known in metrics):
            note(document, ("metric", index, "name"), f"{metric.name} is in the list already")
        if metric.target is not None:
            note(document, ("metric", index, "target"), "only the first metric may have a target")
        metrics.append(metric)
    return tuple(metrics)


def _read_metric(
    document: Document, place: Place, given: object, goals: Mapping[str, Goal], base: RunConfig
) -> Metric | None:
    if not isinstance(given, dict):
        rule = f"must be a mapping such as {{name: {next(iter(goals))}, goal: minimize}}"
        note(document, place, f"{rule} (got {format_value(given)})")
        return None
    for key in given:
        if key not in ("name", "goal", "target"):
            hint = suggestion(key, given) or "; the keys are name, goal, target"
            note(document, (*place, key), f"is no key of metric{hint}")
    name = full_name(str(given.get("name")), base.eval)
    if name not in goals:
        note(document, (*place, "name"), _metric_rule(given.get("name"), goals, base))
        return None
    goal, target = given.get("goal", goals[name]), given.get("target")
    if goal != goals[name]:
        side = "smaller" if goals[name] == "minimize" else "greater"
        rule = f"must be {goals[name]}, as {side} is better with {name} (got {format_value(goal)})"
        note(document, (*place, "goal"), rule)
    if target is not None and not is_number(target):
        note(document, (*place, "target"), f"must be a finite number (got {format_value(target)})")
        target = None
    return Metric(name, goals[name], target)


def read_sampler(document: Document, method: Method, metrics: int) -> str:
    """`sampler`: how `method` chooses points; its first one by default."""
    known = SAMPLERS[method]
    default = next(iter(known), "")
    if "sampler" not in document.data:
        return default
    given = document.data["sampler"]
    if given not in known:
        names = ", ".join(known) or "none: leave it out"
        rule = f"of method {method} must be one of {names} (got {format_value(given)})"
        note(document, ("sampler",), rule + suggestion(str(given), known))
        return default
    if metrics > 1 and given in SINGLE:
        several = ", ".join(name for name in known if name not in SINGLE)
        note(document, ("sampler",), f"{given} takes one metric; for several choose {several}")
    return str(given)


def follow_protocol(metric: Metric, before: EvalConfig, after: EvalConfig) -> Metric:
    """The same kind of metric under another protocol; its target meant the old one."""
    name = same_metric(metric.name, before, after) or metric.name  # a cost is under every one
    return metric if name == metric.name else replace(metric, name=name, target=None)


def _metric_rule(name: Value, goals: Mapping[str, Goal], base: RunConfig) -> str:
    names = ", ".join(goals)
    rule = f"must be one of {names}: what base's eval settings measure (got {format_value(name)})"
    text = str(name)
    if text.startswith(("fid", "kid")) and base.eval.extractor == next(iter(goals))[3:]:
        return f"{rule}; for {text[:3].upper()} set eval.extractor: inception"
    if text.startswith(("fd_", "kd_")):
        return f"{rule}; for another network set eval.extractor: {text[3:]}"
    if text.startswith(("fid", "kid")):
        return f"{rule}; {text[:3]} alone means the same, and eval.num_fakes changes it"
    return rule + suggestion(text, (*goals, "fid", "kid"))


def note(document: Document, keys: Place, rule: str) -> None:
    """Add a fault of the entry at `keys`, with its line."""
    document.faults.add(document.line(*keys), f"{'.'.join(map(str, keys))}: {rule}")
