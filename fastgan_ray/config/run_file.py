"""Read, check and write a RunConfig as strict YAML, and parse the settings of `--set`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fastgan_ray.config.aliases import current_name
from fastgan_ray.config.file_kinds import require_kind
from fastgan_ray.config.messages import ErrorList, format_value
from fastgan_ray.config.rules import Violation, explain
from fastgan_ray.config.run_config import SECTIONS, RunConfig
from fastgan_ray.config.strict_yaml import PLAIN_TYPES, parse, parse_value, read_text
from fastgan_ray.errors import UserError


def check_settings(settings: Mapping[str, Any]) -> list[Violation]:
    """Return the broken rules of a configuration; an empty list means that it is valid.

    `settings` may have nested sections, dotted keys, or a mixture. Settings that are not given have
    their published defaults.
    """
    try:
        RunConfig.model_validate(settings)
    except ValidationError as error:
        return explain(error, RunConfig)
    return []


def check_alone(settings: Mapping[str, Any], errors: ErrorList) -> None:
    """Check each setting of `--set` (flat dotted keys) alone, and add the errors to `errors`.

    Rules about several settings are not checked here, because the settings in the file are not
    known yet.
    """
    for section in (key for key in settings if key in SECTIONS):
        errors.add(
            None,
            f"{section}: is a section, not a setting; name a setting in it, such as model.ngf",
        )
    for violation in check_settings(settings):
        if violation.key not in SECTIONS:
            errors.add(None, f"{violation.key}: {violation.rule}")


def load_run_config(path: str | Path) -> RunConfig:
    """Read a configuration from a YAML file; missing settings have their published defaults.

    Raise UserError with every error of the file, e.g.
    `run.yaml:6: train.beta1: must be ... (got 1.2)`.
    """
    document = parse(read_text(path), str(path))
    require_kind(document, "run")
    for violation in check_settings(document.data):
        document.add_error(violation.loc, violation.rule, violation.key)
    document.errors.check()
    return RunConfig.model_validate(document.data)


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Parse the values of `--set`: ["train.lr_g=1e-4", ...] -> {"train.lr_g": 0.0001}.

    Values follow YAML's rules, with one exception: a value that begins with # is text, not a
    comment. Raise UserError with all errors.
    """
    errors = ErrorList("--set")
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        key = current_name(key.strip())
        if not equals or not key:
            errors.add(None, f"{format_value(assignment)}: must have the form key=value")
        elif key in values:
            errors.add(None, f"{key}: is given twice")
        else:
            try:
                values[key] = text if text.startswith("#") else parse_value(text, f"--set {key}")
            except UserError as error:
                errors.add(None, f"{key}: {error}")
    check_alone(values, errors)
    errors.check()
    return values


class _Dumper(yaml.SafeDumper):
    """A YAML writer that quotes text if YAML 1.1 or our loader would read it as another type."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Without quotes, PyYAML would lose these line breaks when it reads the text.
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
for _name, _pattern in PLAIN_TYPES.items():
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, None)


def dump_yaml(content: Mapping[str, Any]) -> str:
    """Return a mapping of plain values as YAML text, with the keys in their order.

    Raise yaml.YAMLError for other values.
    """
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def dump_run_config(config: RunConfig) -> str:
    """Return every setting of `config` as YAML text; `load_run_config` can read it."""
    return dump_yaml(config.model_dump())
