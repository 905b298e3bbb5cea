"""Convert parameters, their values and the outcomes of trials to Optuna's format."""

from __future__ import annotations

import json
from typing import cast

from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial, FixedTrial, FrozenTrial

from fastgan_ray.config.strict_yaml import Value
from fastgan_ray.search.space import Parameter, SearchSpace

Scalar = None | bool | int | float | str

_PLAIN = (bool, int, float, str)


def suggest(trial: BaseTrial, parameter: Parameter) -> Value:
    """Let Optuna choose the value of `parameter` in `trial`; return it in a RunConfig's format."""
    name, count = parameter.name, parameter.size
    if parameter.values:
        choices = [encode(parameter, value) for value in parameter.values]
        return parameter.values[choices.index(trial.suggest_categorical(name, choices))]
    if count is None or parameter.log:
        return parameter.snap(
            trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log)
        )
    low, high = parameter.snap(parameter.low), parameter.snap(parameter.high)
    if parameter.integer:
        return trial.suggest_int(name, int(low), int(high), step=int(parameter.q))
    return parameter.snap(trial.suggest_float(name, low, high, step=parameter.q))


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return the Optuna distribution from which `suggest` draws the values of a parameter."""
    start = parameter.at(0) if parameter.values else parameter.snap(parameter.low)
    probe = FixedTrial({parameter.name: encode(parameter, start)})
    suggest(probe, parameter)
    return probe.distributions[parameter.name]


def encode(parameter: Parameter, value: Value) -> Scalar:
    """Convert a value of `parameter` to Optuna's format.

    If the parameter's possible values include a list, or values that are equal in Python (such as 1
    and True), every value becomes a JSON text. Otherwise the value stays as it is.
    """
    plain = all(choice is None or isinstance(choice, _PLAIN) for choice in parameter.values)
    if not parameter.values or (plain and len(set(parameter.values)) == len(parameter.values)):
        return cast(Scalar, value)
    return json.dumps(value)


def decode(parameter: Parameter, value: Scalar) -> Value:
    """Convert a value in Optuna's format to the parameter's value.

    Optuna's value of a number may be 61.3 or 64.0 where `suggest` has returned 64, a multiple of q.
    """
    if not parameter.values:
        return parameter.snap(cast(float, value))
    choices = [encode(parameter, choice) for choice in parameter.values]
    return parameter.values[choices.index(value)]


def point_of(trial: FrozenTrial, space: SearchSpace) -> dict[str, Value]:
    """Return the values of the parameters of a trial in an Optuna study, by dotted names."""
    return {
        parameter.name: decode(parameter, trial.params[parameter.name])
        for parameter in space
        if parameter.name in trial.params
    }
