"""The key `parameters`: the searched settings, each with values that the setting must accept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, TypeAlias

from pydantic import PlainValidator, TypeAdapter, ValidationError, ValidationInfo

from fastgan_ray.config.feature_networks import mixed_kinds
from fastgan_ray.config.messages import format_value, suggestion
from fastgan_ray.config.rules import Violation, broken, combine, explain
from fastgan_ray.config.run_config import RunConfig, field_names
from fastgan_ray.config.run_file import check_settings
from fastgan_ray.config.schedule import Schedule, looks_like_schedule
from fastgan_ray.config.strict_yaml import Value
from fastgan_ray.search.file.distributions import (
    KEYS,
    AnyEntry,
    Entry,
    distribution_of,
    to_parameter,
)
from fastgan_ray.search.file.method import Method
from fastgan_ray.search.file.points import check_points, with_constants
from fastgan_ray.search.file.section import context_of, read_each, read_tagged
from fastgan_ray.search.file.wandb_distributions import REFUSED, translation
from fastgan_ray.search.space import Condition, Parameter, SearchSpace

# These settings affect how the metric is measured, so they must be the same for all trials.
FIXED = (
    "data.path",
    "data.fit",
    "data.mode",
    "data.background",
    "data.limit",
    "data.boxes",
    "data.padding",
    "data.on_bad_image",
    "model.aspect",
)
PROBES = 17  # number of values of a range to check, including the bounds

_ENTRY: TypeAdapter[Entry] = TypeAdapter(AnyEntry)


def _read_space(value: object, info: ValidationInfo) -> SearchSpace:
    """Read the parameters in the order of the file; check each parameter, then the combinations."""
    if not isinstance(value, dict) or not value:
        rule = (
            "must be a mapping from one or more settings to their possible values, such as "
            "`model.ngf: {values: [16, 32]}`"
        )
        raise broken(f"{rule} (got {format_value(value)})")
    context = context_of(info)
    method: Method | None = info.data.get("method")  # None if not valid
    parameters: dict[str, Parameter] = {}

    def read(name: str, entry: object) -> None:
        _check_name(name, entry)
        if not isinstance(entry, dict):
            key = "values" if isinstance(entry, list) else "value"
            value_text = "null" if entry is None else format_value(entry)
            raise broken(f"must be a mapping such as {{{key}: {value_text}}}")
        if name in context.base_names:
            raise broken(
                "is also in base; remove it from base (to search it) or from parameters (to keep "
                "it fixed)"
            )
        model = _read_entry(entry)
        when = _conditions(name, model.when, parameters, list(value))
        parameter = to_parameter(name, model, when)
        _check_method(parameter, method)
        _check_values(parameter)
        values = tuple(_as_in_a_configuration(name, value) for value in parameter.values)
        parameters[name] = replace(parameter, values=values)

    read_each(value, read)
    space = tuple(parameters.values())
    if method is not None and context.settings is not None:
        check_points(with_constants(space, context.overrides), method, context.settings)
    if context.settings is not None:
        _check_kinds(with_constants(space, context.overrides), context.settings)
    return space


def may_be_searched(name: str) -> bool:
    """Return True if a search may vary the setting `name`.

    Return False for settings that affect how the metric is measured.
    """
    return not name.startswith("eval.") and name not in FIXED


def _check_kinds(space: SearchSpace, settings: Mapping[str, Any]) -> None:
    """Raise an error if the metric cannot rank trials whose discriminators differ.

    The metric cannot rank them if two conditions hold. Only some trials have a projected
    discriminator. The metric's network shares training data with the feature network of this
    discriminator. `settings` (flat dotted keys) has the settings of `base` with the overrides
    applied.
    """
    name = "model.discriminator"
    parameter = next((parameter for parameter in space if parameter.name == name), None)
    if parameter is None:
        return
    config = RunConfig.model_validate(
        {key: value for key, value in settings.items() if key.startswith("eval.")}
    )
    default = settings.get(name, config.model.discriminator)
    kinds = {*parameter.values, *([default] if parameter.when else [])}
    if len(kinds) > 1 and (rule := mixed_kinds(config.eval.extractor)):
        raise broken(rule, name)


def _check_name(name: str, entry: object) -> None:
    if name not in field_names():
        raise broken(RunConfig.unknown_key(name))
    if not may_be_searched(name):
        raise broken(
            "must be the same for all trials, because otherwise the trials cannot be compared; "
            "set it in base"
        )


def _read_entry(entry: dict[str, Any]) -> Entry:
    """Read one entry of `parameters`. Error messages name the key inside the entry."""
    name = distribution_of(entry)
    _check_keys(entry, name)
    try:
        return read_tagged(_ENTRY, {"distribution": name, **entry}, name)
    except ValidationError as error:
        violations = explain(error, Entry)
        if any("cannot be used with" in violation.rule for violation in violations):
            # If the entry has keys of another distribution, do not also report missing keys.
            violations = [violation for violation in violations if violation.loc]
        raise combine(
            Violation(loc, f"{'.'.join(map(str, loc))} {rule}" if loc else rule)
            for loc, rule in violations
        ) from None


def _check_keys(entry: dict[str, Any], distribution: str) -> None:
    """Raise an error if the distribution is not supported, or if keys are unknown or conflict."""
    if distribution in REFUSED:
        rule = f"distribution {distribution} {REFUSED[distribution]}; {translation(entry)}"
        raise broken(rule, "distribution")
    if unknown := [key for key in entry if key not in KEYS]:
        raise combine(Violation((key,), f"{key} {Entry.unknown_key(key)}") for key in unknown)
    ways = [key for key in ("value", "values", "min", "max") if key in entry]
    if not ways and "distribution" not in entry:
        raise broken("needs value, values, or both min and max")
    if len(ways) > 1 and ways != ["min", "max"]:
        raise broken("must have only value, only values, or only min and max")


def _check_method(parameter: Parameter, method: Method | None) -> None:
    if parameter.probabilities and method not in ("random", None):
        raise broken(f"probabilities need method random (got method {method})", "probabilities")
    if method == "grid" and parameter.size is None:
        rule = "is continuous, but method grid needs a finite list of values"
        raise broken(f"{parameter.distribution} {rule}", "distribution")


def _conditions(
    name: str, when: Mapping[str, Any], earlier: Mapping[str, Parameter], names: list[str]
) -> tuple[Condition, ...]:
    """Convert the conditions `when` of the parameter `name` to pairs (parent, values).

    `when` maps each parent, a parameter on which `name` depends, to a value or a list of values.
    `earlier` has the parameters before `name` in the file, and `names` has all names in the file.
    Raise an error if a parent is not in `earlier`, or if `when` has an impossible value for it.
    """
    conditions = []
    for parent, wanted in when.items():
        if parent not in earlier:
            if parent not in names:
                rule = "is not a parameter of this file" + suggestion(parent, earlier)
            elif names.index(parent) < names.index(name):
                rule = "is a parameter with an error; correct this error first"
            else:
                rule = "must come before the parameters that depend on it"
            raise broken(f"when: {parent} {rule}", "when")
        # A list means several values, except if the whole list is one of the parent's values.
        is_one = not isinstance(wanted, list) or earlier[parent].contains(wanted)
        values = (wanted,) if is_one else tuple(wanted)
        for value in values or (None,):
            if not earlier[parent].contains(value):
                raise broken(
                    f"when: {parent} can never have the value {format_value(value)}", "when"
                )
        conditions.append((parent, values))
    return tuple(conditions)


def _check_values(parameter: Parameter) -> None:
    """Raise an error if the setting does not accept the values of the parameter.

    All listed values are checked. In a range, the bounds and some values between them are checked.
    """
    name, size = parameter.name, parameter.size
    low, high = parameter.low, parameter.high
    # A continuous range contains fractions even if its bounds are whole numbers: float(low) makes
    # the check fail if the setting must be a whole number.
    probes: list[tuple[str, Value]] = [("min", low), ("max", high), ("distribution", float(low))]
    if parameter.values:
        key = "value" if parameter.distribution == "constant" else "values"
        probes = [(key, value) for value in parameter.values]
    elif size is not None:
        indices = sorted({round(i * (size - 1) / (PROBES - 1)) for i in range(PROBES)})
        probes = [("max" if index else "min", parameter.at(index)) for index in indices]
    for key, value in probes:
        for violation in check_settings({name: value}):
            if violation.key == name or violation.key.startswith(f"{name}."):
                raise broken(violation.rule + _range_hint(parameter, violation.rule), key)


def _as_in_a_configuration(name: str, value: Value) -> Value:
    """Return a schedule with its keys in a fixed order, and any other value unchanged.

    Equal schedules then have the same text in a study, even if the order of their keys in the file
    differs.
    """
    if not looks_like_schedule(value):
        return value
    return Schedule.model_validate(value).mapping()


def _range_hint(parameter: Parameter, rule: str) -> str:
    """Suggest a distribution of whole numbers with the bounds of `parameter`, for an error message.

    Return "" if the error message `rule` does not ask for whole numbers.
    """
    if "whole number" not in rule or parameter.values:
        return ""
    low, high = math.ceil(parameter.low), math.floor(parameter.high)
    name, q = "int_uniform", ""
    if parameter.log or parameter.q:
        name = "q_log_uniform_values" if parameter.log else "q_uniform"
        q = f", q: {max(1, round(parameter.q))}"
    return f"; use {{distribution: {name}, min: {low}, max: {high}{q}}}"


Parameters: TypeAlias = Annotated[
    SearchSpace, PlainValidator(_read_space, json_schema_input_type=dict[str, AnyEntry])
]
