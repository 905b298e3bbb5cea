"""The `parameters:` of a search file: W&B's keys, checked against the fields that they set."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeGuard, get_args

from fastgan_ray.config.run_config import field_names
from fastgan_ray.config.run_file import faults_of, unknown
from fastgan_ray.config.strict_yaml import Document, Value, format_value, suggestion
from fastgan_ray.search.space import Distribution, Parameter, SearchSpace, same

DISTRIBUTIONS: tuple[str, ...] = get_args(Distribution)
QUANTISED = ("q_uniform", "q_log_uniform_values")
KEYS = ("value", "values", "probabilities", "distribution", "min", "max", "q", "when")
REFUSED = {
    "log_uniform": "takes exponents; use log_uniform_values, whose min and max are the values",
    "q_log_uniform": "takes exponents; use q_log_uniform_values, whose min and max are the values",
    "inv_log_uniform": "is not supported; use log_uniform_values",
    "inv_log_uniform_values": "is not supported; use log_uniform_values",
    "normal": "has no bounds, which a search needs; use uniform",
    "q_normal": "has no bounds, which a search needs; use q_uniform",
    "log_normal": "has no bounds, which a search needs; use log_uniform_values",
    "q_log_normal": "has no bounds, which a search needs; use q_log_uniform_values",
    "beta": "is not supported; use uniform",
    "q_beta": "is not supported; use q_uniform",
}
# These change what the metric is measured against, so that trials would not compare.
FIXED = ("data.path", "data.fit", "data.background", "data.limit", "data.on_bad_image")
MAX_VALUES = 1000
MAX_BOUND = 10**15  # whole numbers beyond lose digits as floats
PROBES = 17  # values of a range that are tried on the schema, the bounds among them


class FieldError(Exception):
    """What is wrong with one parameter: the key in it, and the rule."""

    def __init__(self, key: str, rule: str) -> None:
        super().__init__(rule)
        self.key = key
        self.rule = rule


def read_space(document: Document, method: str) -> SearchSpace:
    """The space under `parameters`; what is at fault is noted and left out."""
    entries = document.data.get("parameters")
    if not isinstance(entries, dict) or not entries:
        line = document.line("parameters")
        rule = "must map at least one setting to what it may be, as `model.ngf: {values: [16, 32]}`"
        document.faults.add(line, f"parameters: {rule}")
        return SearchSpace(())
    found: dict[str, Parameter] = {}
    for name, entry in entries.items():
        try:
            if not isinstance(entry, dict):
                raise FieldError("", f"must be a mapping such as {{value: {format_value(entry)}}}")
            parameter = _parameter(name, entry, method, found, list(entries))
            _check_values(parameter)
            found[name] = parameter
        except FieldError as fault:
            where = ("parameters", name, fault.key) if fault.key else ("parameters", name)
            document.faults.add(document.line(*where), f"{name}: {fault.rule}")
    return SearchSpace(tuple(found.values()))


def _parameter(
    name: str, entry: dict[str, Any], method: str, earlier: dict[str, Parameter], names: list[str]
) -> Parameter:
    _check_name(name, entry)
    for key in entry:
        if key not in KEYS:
            hint = suggestion(key, KEYS) or f"; the keys are {', '.join(KEYS)}"
            raise FieldError(key, f"{key} is no key of a parameter{hint}")
    when = _when(name, entry["when"], earlier, names) if "when" in entry else ()
    distribution = _distribution(entry)
    if distribution in ("constant", "categorical"):
        values = _values(entry, distribution)
        weights = _probabilities(entry, values, method)
        return Parameter(name, distribution, values, weights, when=when)
    if method == "grid" and distribution in ("uniform", "log_uniform_values"):
        raise FieldError(
            "distribution", f"{distribution} is continuous: under method grid, list values"
        )
    low, high, q = _range(entry, distribution)
    return Parameter(name, distribution, low=low, high=high, q=q, when=when)


def _check_name(name: str, entry: dict[str, Any]) -> None:
    if name not in field_names():
        if "parameters" in entry:
            raise FieldError(
                "", "nested parameters are not supported; use dotted names, as model.ngf"
            )
        raise FieldError("", unknown(name))
    if name.startswith("eval.") or name in FIXED:
        raise FieldError(
            "", "must be the same for all trials, or they do not compare; set it in base"
        )


def _distribution(entry: dict[str, Any]) -> Distribution:
    """The distribution that is named, or the one that W&B infers from the other keys."""
    given = entry.get("distribution")
    ways = [key for key in ("value", "values", "min") if key in entry]
    if len(ways) > 1 or ("max" in entry and "min" not in ways and ways):
        raise FieldError(
            ways[-1], "must have one of value, values, or min with max; it has several"
        )
    if "distribution" not in entry:
        if "value" in entry:
            return "constant"
        if "values" in entry:
            return "categorical"
        if "min" not in entry and "max" not in entry:
            raise FieldError("", "must have value, values, or min with max")
        whole = all(is_int(entry.get(bound, 0)) for bound in ("min", "max"))
        if "q" in entry:
            return "q_uniform"
        return "int_uniform" if whole else "uniform"
    names: tuple[Distribution, ...] = get_args(Distribution)
    for name in names:
        if name == given:
            return name
    if isinstance(given, str) and given in REFUSED:
        raise FieldError("distribution", f"distribution {given} {REFUSED[given]}")
    hint = suggestion(str(given), DISTRIBUTIONS)
    rule = (
        f"distribution must be one of {', '.join(DISTRIBUTIONS)} (got {format_value(given)}){hint}"
    )
    raise FieldError("distribution", rule)


def _values(entry: dict[str, Any], distribution: Distribution) -> tuple[Value, ...]:
    key = "value" if distribution == "constant" else "values"
    _only(entry, distribution, (key, "probabilities") if key == "values" else (key,))
    if key == "value":
        return (entry["value"],)
    values = entry["values"]
    if not isinstance(values, list) or not values:
        raise FieldError(
            "values", f"values must be a list with something in it (got {format_value(values)})"
        )
    if len(values) > MAX_VALUES:
        raise FieldError("values", f"values must be at most {MAX_VALUES} (got {len(values)})")
    for index, value in enumerate(values):
        if any(same(value, other) for other in values[:index]):
            raise FieldError("values", f"values must differ (got {format_value(value)} twice)")
    return tuple(values)


def _probabilities(
    entry: dict[str, Any], values: tuple[Value, ...], method: str
) -> tuple[float, ...] | None:
    if "probabilities" not in entry:
        return None
    given = entry["probabilities"]
    if method != "random":
        raise FieldError("probabilities", f"probabilities need method random (got method {method})")
    if (
        not isinstance(given, list)
        or len(given) != len(values)
        or not all(is_number(weight) and weight >= 0 for weight in given)
        or not math.isclose(sum(given), 1, abs_tol=1e-6)
    ):
        rule = f"probabilities must be {len(values)} numbers, one a value, with sum 1"
        raise FieldError("probabilities", f"{rule} (got {format_value(given)})")
    return tuple(given)


def _range(entry: dict[str, Any], distribution: Distribution) -> tuple[float, float, float]:
    """low, high and q (0 = a continuum) of a numeric distribution."""
    quantised = distribution in QUANTISED
    _only(entry, distribution, ("min", "max", "q") if quantised else ("min", "max"))
    whole = distribution == "int_uniform"
    for key in ("min", "max"):
        if key not in entry:
            raise FieldError("", f"{key} is missing: {distribution} needs min and max")
        if not (is_int if whole else is_number)(entry[key]):
            kind = "a whole number" if whole else "a finite number"
            raise FieldError(key, f"{key} must be {kind} (got {format_value(entry[key])})")
        if abs(entry[key]) > MAX_BOUND:
            raise FieldError(key, f"{key} must be within +-10**15 (got {format_value(entry[key])})")
    low, high = entry["min"], entry["max"]
    if low > high:
        raise FieldError(
            "min", f"min <= max must hold (got min {format_value(low)}, max {format_value(high)})"
        )
    if "log" in distribution and low <= 0:
        raise FieldError(
            "min", f"min must be greater than 0 for {distribution} (got {format_value(low)})"
        )
    if whole or not quantised:
        return low, high, int(whole)
    q = entry.get("q", 1)
    if not is_number(q) or q <= 0:
        raise FieldError("q", f"q must be a number greater than 0 (got {format_value(q)})")
    if max(abs(low), abs(high)) / q > 1e9:
        raise FieldError("q", f"q must leave at most 10**9 steps (got {format_value(q)})")
    if not Parameter("", distribution, low=low, high=high, q=q).steps:
        rule = f"no multiple of q lies between min and max (got q {format_value(q)}"
        raise FieldError("q", f"{rule}, min {format_value(low)}, max {format_value(high)})")
    return low, high, q


def _only(entry: dict[str, Any], distribution: str, keys: Iterable[str]) -> None:
    for key in entry:
        if key not in (*keys, "distribution", "when"):
            raise FieldError(key, f"{key} does not go with distribution {distribution}")
    for key in keys:
        if key in ("value", "values") and key not in entry:
            raise FieldError("distribution", f"distribution {distribution} needs {key}")


def _when(
    name: str, given: Value, earlier: dict[str, Parameter], names: list[str]
) -> tuple[tuple[str, tuple[Value, ...]], ...]:
    if not isinstance(given, dict) or not given:
        raise FieldError(
            "when",
            "when must map parents to values, as {train.loss: logistic} "
            f"(got {format_value(given)})",
        )
    conditions = []
    for parent, wanted in given.items():
        if parent not in earlier:
            if parent in names:
                at_fault = names.index(parent) < names.index(name)
                rule = "is itself at fault" if at_fault else "must stand before what it decides"
            else:
                rule = "is no parameter of this file" + suggestion(parent, earlier)
            raise FieldError("when", f"when: {parent} {rule}")
        # A list is several values, unless the parent's values are lists themselves.
        is_one = not isinstance(wanted, list) or earlier[parent].contains(wanted)
        values = (wanted,) if is_one else tuple(wanted)
        for value in values or (None,):
            if not earlier[parent].contains(value):
                raise FieldError("when", f"when: {parent} can never be {format_value(value)}")
        conditions.append((parent, values))
    return tuple(conditions)


def _check_values(parameter: Parameter) -> None:
    """Try each value, or the bounds and some between, on the field alone."""
    name, size = parameter.name, parameter.size
    low, high = parameter.low, parameter.high
    # Between whole bounds of a continuum lie fractions, which a whole field refuses.
    probes: list[tuple[str, Value]] = [("min", low), ("max", high), ("distribution", float(low))]
    if parameter.values:
        key = "value" if parameter.distribution == "constant" else "values"
        probes = [(key, value) for value in parameter.values]
    elif size is not None:
        indices = sorted({round(i * (size - 1) / (PROBES - 1)) for i in range(PROBES)})
        probes = [("max" if index else "min", parameter.at(index)) for index in indices]
    for key, value in probes:
        for place, rule in faults_of({name: value}):
            if place == name or place.startswith(f"{name}."):
                raise FieldError(key, rule + _range_hint(parameter, rule))


def _range_hint(parameter: Parameter, rule: str) -> str:
    if "whole number" not in rule or parameter.values:
        return ""
    better = "q_log_uniform_values with q: 1" if parameter.log else "distribution: int_uniform"
    return f"; use {better}"


def is_int(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number; true and false are none."""
    return is_int(value) or (isinstance(value, float) and math.isfinite(value))
