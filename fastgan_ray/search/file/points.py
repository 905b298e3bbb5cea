"""Check the points of a search space: find values that no valid configuration can have.

A point has one value for each active parameter.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from fastgan_ray.config.messages import format_value
from fastgan_ray.config.rules import Violation, broken, combine
from fastgan_ray.config.run_file import check_settings
from fastgan_ray.config.strict_yaml import Value
from fastgan_ray.search.file.method import Method
from fastgan_ray.search.space import Parameter, SearchSpace, grid, sample, size

MAX_GRID = 10_000
TRIES = 256  # number of random points; at least one must be valid


def with_constants(space: SearchSpace, values: Mapping[str, Any]) -> SearchSpace:
    """Return `space` with the parameters in `values` fixed to these values, and always active."""
    return tuple(
        Parameter(parameter.name, "constant", (values[parameter.name],))
        if parameter.name in values
        else parameter
        for parameter in space
    )


def check_points(space: SearchSpace, method: Method, settings: Mapping[str, Any]) -> None:
    """Raise an error if points of `space` are not valid runs.

    `settings` (flat dotted keys) has the other settings of the runs. With the method "grid", every
    point must be valid. With other methods, each listed value of a parameter must be part of at
    least one valid point.
    """
    if method == "grid":
        _check_grid(space, settings)
        return
    if rule := _always_broken(space, settings):
        names = [p.name for p in space if p.name.rpartition(".")[2] in rule]
        raise broken(f"no combination of the parameters is a valid run: {rule}", *names[:1])
    violations = [
        Violation(
            (parameter.name, "values"), f"no valid run has the value {format_value(value)}: {rule}"
        )
        for parameter in space
        for value in parameter.values
        if (rule := _always_broken(_narrowed(space, {parameter.name: (value,)}), settings))
    ]
    if violations:
        raise combine(violations)


def _check_grid(space: SearchSpace, settings: Mapping[str, Any]) -> None:
    count = size(space)
    if count is None or count > MAX_GRID:
        rule = f"a grid may have at most {MAX_GRID} combinations (got {count}); use method random"
        raise broken(rule)
    for point in grid(space):
        if violations := check_settings({**settings, **point}):
            values = ", ".join(f"{key} = {format_value(value)}" for key, value in point.items())
            rules = "; ".join(f"{violation.key}: {violation.rule}" for violation in violations)
            raise broken(
                f"the combination {values} is not a valid run: {rules}; exclude this combination "
                "with the key when"
            )


def _always_broken(space: SearchSpace, settings: Mapping[str, Any]) -> str:
    """Return "" if at least one of TRIES random points of `space` is valid.

    Otherwise, return "setting: rule" with a rule that one of these points breaks.
    """
    rng = random.Random(0)
    rule = ""
    for _ in range(TRIES):
        violations = check_settings({**settings, **sample(space, rng)})
        if not violations:
            return ""
        rule = f"{violations[0].key}: {violations[0].rule}"
    return rule


def _narrowed(space: SearchSpace, values: dict[str, tuple[Value, ...]]) -> SearchSpace:
    """Return `space` with the parameters in `values` limited to these values, and always active.

    If one of these parameters has a condition, the condition's parent is limited to the values that
    make the parameter active.
    """
    parameters = []
    for parameter in reversed(space):
        if parameter.name in values:
            for parent, wanted in parameter.when:
                values.setdefault(parent, wanted)
            parameter = Parameter(parameter.name, "categorical", values[parameter.name])
        parameters.append(parameter)
    return tuple(reversed(parameters))
