"""RunConfig as strict YAML, in and out, and pydantic's complaints as rules with values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fastgan_ray.config.run_config import RunConfig, field_names, nest
from fastgan_ray.config.strict_yaml import (
    PLAIN_TYPES,
    Document,
    ErrorList,
    Keys,
    Value,
    format_value,
    parse,
    parse_value,
    read_text,
    suggestion,
)
from fastgan_ray.errors import UserError

SECTIONS = tuple(RunConfig.model_fields)

# pydantic's error type -> the rule; braces name items of the error's context.
RULES = {
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
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
    "model_type": "must be a mapping of settings",
    "value_error": "{error}",
}


def explain(error: ValidationError) -> list[tuple[str, str]]:
    """Each fault as (dotted key, rule with value): ("train.beta1", "must be ... (got 1.2)").

    The key is a section's (`model`) where values of several fields do not go together; a rule of
    that kind names the fields and values itself.
    """
    found = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        kind, context = fault["type"], fault.get("ctx", {})
        if kind == "extra_forbidden":
            found.append((key, unknown(key)))
            continue
        rule = fault["msg"]
        if kind in RULES:
            numbers = {k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()}
            rule = RULES[kind].format(**numbers)
        if key not in SECTIONS or kind != "value_error":
            rule += f" (got {format_value(fault['input'])})"
        if kind == "literal_error" and isinstance(fault["input"], str):
            rule += suggestion(fault["input"], context["expected"].split("'")[1::2])
        found.append((key, rule))
    return found


def unknown(key: str) -> str:
    """The fault of a dotted key that no RunConfig has, with the nearest that it has."""
    sections = () if "." in key else SECTIONS
    return "is no known setting" + suggestion(key, (*sections, *field_names()))


def faults_of(flat: Mapping[str, Any]) -> list[tuple[str, str]]:
    """`explain`'s list for flat dotted settings over the published defaults; empty = valid."""
    try:
        RunConfig.model_validate(nest(dict(flat)))
    except ValidationError as error:
        return explain(error)
    return []


def settings(document: Document, root: Keys = ()) -> dict[str, tuple[Any, int | None]]:
    """The RunConfig fragment at `root` as {dotted key: (value, line)}; faults go to the document.

    Sections may be nested or dotted, or both. Unknown keys, and one given in both ways, are faults.
    """
    known = set(field_names())
    found: dict[str, tuple[Any, int | None]] = {}

    def walk(value: Value, path: Keys, key: str) -> None:
        line = document.line(*path)
        if key in known:
            if key in found:
                document.faults.add(line, f"{key}: is given twice (also in line {found[key][1]})")
            found[key] = (value, line)
        elif key not in (*SECTIONS, ""):
            document.faults.add(line, f"{key}: {unknown(key)}")
        elif isinstance(value, dict):
            for name, inner in value.items():
                walk(inner, (*path, name), f"{key}.{name}" if key else name)
        elif value is not None:  # a section with all its lines commented out is nothing
            rule = "must be a mapping of settings"
            document.faults.add(line, f"{key or root[-1]}: {rule} (got {format_value(value)})")

    place: Any = document.data
    for part in root:
        place = place.get(part)
    walk(place, root, "")
    return found


def check_settings(
    faults: ErrorList, given: Mapping[str, tuple[Any, int | None]]
) -> list[tuple[str, str]]:
    """Note what is wrong with given settings, at their lines; returns the list of what was."""
    wrong = faults_of({key: value for key, (value, _) in given.items()})
    for key, rule in wrong:
        faults.add(_line_of(key, rule, given), f"{key}: {rule}")
    return wrong


def _line_of(key: str, rule: str, given: Mapping[str, tuple[Any, int | None]]) -> int | None:
    """The line of a key; of a section's rule, the last line among the fields that it names."""
    if key in given:
        return given[key][1]
    inside = [name for name in given if name.startswith(f"{key}.") or key.startswith(f"{name}.")]
    named = [name for name in inside if name.rpartition(".")[2] in rule]
    return max((given[name][1] or 0 for name in named or inside), default=0) or None


def holds_run_config(path: str | Path) -> bool:
    """Whether a YAML file has a run configuration's sections only, so that it is no search."""
    document = parse(read_text(path), str(path))
    return bool(document.data) and {key.partition(".")[0] for key in document.data} <= {*SECTIONS}


def load_run_config(path: str | Path) -> RunConfig:
    """The configuration in a YAML file over the published defaults.

    UserError with every fault of the file: `run.yaml:6: train.beta1: must be ... (got 1.2)`.
    """
    document = parse(read_text(path), str(path))
    given = settings(document)
    check_settings(document.faults, given)
    document.faults.check()
    return RunConfig.model_validate(nest({key: value for key, (value, _) in given.items()}))


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """["train.lr_g=1e-4", ...] of `--set` to {"train.lr_g": 0.0001}; UserError names every fault.

    Values follow YAML's rules; one that begins with # is text all the same.
    """
    faults = ErrorList("--set")
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        key = key.strip()
        if not equals:
            faults.add(None, f"{format_value(assignment)}: must read key=value")
        elif key not in field_names():
            faults.add(None, f"{key}: {unknown(key)}")
        elif key in values:
            faults.add(None, f"{key}: is given twice")
        else:
            try:
                values[key] = text if text.startswith("#") else parse_value(text, f"--set {key}")
            except UserError as error:
                faults.add(None, f"{key}: {error}")
    for key, rule in faults_of(values):
        if key not in SECTIONS:  # what does not go together may do so with the file's values
            faults.add(None, f"{key}: {rule}")
    faults.check()
    return values


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML 1.1 or our loader would take for something other than text."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # PyYAML writes these line breaks bare, and folds them away when it reads them.
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
for _name, _pattern in PLAIN_TYPES.items():
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, None)


def dump_run_config(config: RunConfig) -> str:
    """Every setting of a configuration as YAML that `load_run_config` reads back the same."""
    return yaml.dump(
        config.model_dump(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )
