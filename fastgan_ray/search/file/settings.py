"""The key `base`, and the settings of an arm, as nested sections, dotted keys, or a mixture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import PlainValidator

from fastgan_ray.config.messages import format_value
from fastgan_ray.config.rules import Violation, broken, combine
from fastgan_ray.config.run_config import RunConfig, flatten
from fastgan_ray.config.run_file import check_settings
from fastgan_ray.search.file.section import FileContext


def file_context(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> FileContext:
    """Return the facts about `base`, the arms and the overrides that the file's checks need."""
    fragment, arms = data.get("base"), data.get("arms")
    given = flatten(fragment) if isinstance(fragment, dict) else {}
    base = _valid_part(given)
    settings = {**base, **overrides}
    conflicts, config = check_settings(settings), RunConfig.model_validate(base)
    length_unknown = "train.total_kimg" in {*overrides, *(given.keys() - base.keys())}
    return FileContext(
        base=base,
        config=config,
        overrides=dict(overrides),
        settings=None if conflicts or base != given else settings,
        conflicts=conflicts,
        total_kimg=None if length_unknown else config.train.total_kimg,
        arms=list(arms) if isinstance(arms, dict) else [],
        base_names=frozenset(given),
    )


def _valid_part(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the valid part of `settings`: remove settings until no rule is broken."""
    while violations := check_settings(settings):
        keys = [f"{violation.key}." for violation in violations]
        valid = {
            name: value
            for name, value in settings.items()
            if not any(f"{name}.".startswith(key) or key.startswith(f"{name}.") for key in keys)
        }
        assert len(valid) < len(settings), violations
        settings = valid
    return settings


def read_fragment(value: object) -> dict[str, Any]:
    """Return the settings of `base` or of an arm, {dotted name: value}; null means no settings."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        rule = "must be a mapping of settings, such as {model.ngf: 8}"
        raise broken(f"{rule} (got {format_value(value)})")
    return flatten(value)


def _read_settings(value: object) -> dict[str, Any]:
    settings = read_fragment(value)
    if violations := check_settings(settings):
        raise combine(_with_hint(violation, settings) for violation in violations)
    return settings


def _with_hint(violation: Violation, settings: Mapping[str, Any]) -> Violation:
    """Return `violation` with a hint if the wrong value looks like an entry of `parameters`."""
    value = settings.get(violation.key)
    keys = value.keys() if isinstance(value, dict) else {*()}
    if not isinstance(value, list) and not keys & {"value", "values", "min", "max"}:
        return violation
    return Violation(
        violation.loc,
        f"{violation.rule}; if this setting is to be searched, put it under parameters",
    )


Settings: TypeAlias = Annotated[
    dict[str, Any], PlainValidator(_read_settings, json_schema_input_type=RunConfig | None)
]
