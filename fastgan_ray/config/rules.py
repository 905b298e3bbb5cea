"""Convert pydantic's errors to messages for users, with the key, the rule and the value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from fastgan_ray.config.messages import format_value, suggestion
from fastgan_ray.config.section import Section
from fastgan_ray.config.strict_yaml import Loc

# Pydantic's error type -> our message. Names in braces are keys of the error's context.
RULES = {
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotes",
    "string_unicode": "must be readable text",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "literal_error": "must be one of {expected}",
    "list_type": "must be a list",
    "dict_type": "must be a mapping, such as {{key: value}}",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length} entries",
    "model_type": "must be a mapping, such as {{key: value}}",
    "model_attributes_type": "must be a mapping, such as {{key: value}}",
    "union_tag_invalid": "must be one of {expected_tags}",
    "value_error": "{error}",
}

_Section = TypeVar("_Section", bound=Section)


class Violation(NamedTuple):
    """A broken rule: the message `rule`, and the path `loc` of the wrong value."""

    loc: Loc
    rule: str

    @property
    def key(self) -> str:
        """The path `loc` as a dotted key, e.g. "train.beta1"."""
        return ".".join(map(str, self.loc))

    def below(self, key: str | int) -> Violation:
        """Return the same broken rule, with `key` added in front of the path `loc`."""
        return Violation((key, *self.loc), self.rule)


def explain(error: ValidationError, section: type[Section]) -> list[Violation]:
    """Return a Violation for each broken rule in pydantic's `error` about a `section`.

    An example is Violation(("train", "beta1"), "must be ... (got 1.2)"). If a rule combines several
    fields, the violation has the path of the fields' section, such as ("model",). In this case, the
    message names the fields and their values.
    """
    return [_violation(details, section) for details in error.errors(include_url=False)]


def validated(section: type[_Section], settings: Mapping[str, Any]) -> _Section:
    """Validate `settings` and return them as a `section`.

    Raise a ValueError that lists every broken rule.
    """
    try:
        return section.model_validate(settings)
    except ValidationError as error:
        rules = [f"{rule.key}: {rule.rule}" for rule in explain(error, section)]
        raise ValueError("; ".join(rules)) from None


def broken(rule: str, *loc: str | int) -> ValidationError:
    """Return the error that a validator raises if the value at the path `loc` breaks `rule`."""
    return combine([Violation(loc, rule)])


def combine(violations: Iterable[Violation]) -> ValidationError:
    """Return the error that a validator raises to report several broken rules at once.

    Pydantic adds the path of the validated field in front of the path of each violation.
    """
    details: list[InitErrorDetails] = [
        {
            "type": PydanticCustomError("rule", "{rule}", {"rule": violation.rule}),
            "loc": violation.loc,
            "input": None,
        }
        for violation in violations
    ]
    return ValidationError.from_exception_data("", details)


def _violation(details: ErrorDetails, section: type[Section]) -> Violation:
    kind, loc, value = details["type"], details["loc"], details["input"]
    context: dict[str, Any] = details.get("ctx", {})
    if kind == "rule":
        return Violation(loc, context["rule"])
    if kind == "extra_forbidden":
        return Violation(loc, section.unknown_key(".".join(map(str, loc))))
    if kind == "missing":
        given = {field.alias or name: field for name, field in section.model_fields.items()}
        field = given[str(loc[-1])]
        return Violation(loc[:-1], f"needs {loc[-1]}: {field.description}")
    if kind == "union_tag_not_found":
        return Violation(loc, f"needs {context['discriminator']}".replace("'", ""))
    if kind == "union_tag_invalid":
        loc = (*loc, context["discriminator"].strip("'"))
        value = value[loc[-1]]
    numbers = {k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()}
    rule = RULES[kind].format(**numbers) if kind in RULES else details["msg"]
    if kind == "value_error" and isinstance(value, Mapping | BaseModel):
        return Violation(loc, rule)  # the rule already names the fields and their values
    names = re.findall(r"'([^']*)'", context.get("expected", context.get("expected_tags", "")))
    if kind == "literal_error" and len(names) == 1:
        rule = f"must be '{names[0]}'"
    hint = suggestion(value, names) if isinstance(value, str) else ""
    return Violation(loc, f"{rule} (got {format_value(value)}){hint}")
