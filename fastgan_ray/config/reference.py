"""List all settings as text, for `train --help-settings` and docs/settings.md."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.section import Section

COLUMNS = ("setting", "default", "range", "unit", "meaning")


class Setting(NamedTuple):
    """One setting as text; `unit` is "" if the setting has no unit."""

    name: str  # dotted, e.g. train.lr_g
    default: str  # as in YAML, with at most six significant digits
    range: str
    unit: str
    description: str


def reference(word: str = "") -> list[Setting]:
    """List the settings whose name or description contains `word`; ignore upper and lower case.

    If `word` is "", list all settings.
    """
    settings = [
        _setting(f"{section}.{name}", field)
        for section in RunConfig.model_fields
        for name, field in section_model(section).model_fields.items()
    ]
    wanted = word.casefold()
    return [x for x in settings if wanted in f"{x.name}\n{x.description}".casefold()]


def section_model(section: str) -> type[Section]:
    """Return the class (a pydantic model) of the section with this name, such as "train"."""
    model = RunConfig.model_fields[section].annotation
    assert isinstance(model, type) and issubclass(model, Section)
    return model


def as_lines(setting: Setting) -> list[str]:
    """Format a setting as two lines: name and description; default, range and unit."""
    unit = f"; unit: {setting.unit}" if setting.unit else ""
    return [
        f"{setting.name}: {setting.description}",
        f"    default: {setting.default}; range: {setting.range}{unit}",
    ]


def as_markdown(settings: Sequence[Setting]) -> str:
    """Format settings as a Markdown table."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for setting in settings:
        cells = (
            f"`{setting.name}`",
            f"`{setting.default}`",
            setting.range,
            setting.unit,
            setting.description,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _setting(name: str, field: FieldInfo) -> Setting:
    assert field.description is not None, name
    unit = "kimg" if name.endswith("_kimg") else str(_extra(field).get("unit", ""))
    return Setting(name, _value(field.default), _range(field), unit, field.description)


def _extra(field: FieldInfo) -> dict[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def _value(value: object) -> str:
    """Format a value as in YAML, with at most six significant digits."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value) or '""'


def _range(field: FieldInfo) -> str:
    """Describe the values that a setting may have; ignore rules that involve other settings."""
    members = [
        member
        for member in (typing.get_args(field.annotation) if _is_union(field) else ())
        if member is not types.NoneType
    ]
    kind = members[0] if members else field.annotation
    text = _choices(kind, field) or _kind(kind) + _bounds(field, kind is int)
    return f"null, or {text}" if members else text


def _is_union(field: FieldInfo) -> bool:
    return typing.get_origin(field.annotation) in (types.UnionType, typing.Union)


def _choices(kind: Any, field: FieldInfo) -> str:  # noqa: ANN401 - a type annotation
    values = _extra(field).get("enum", ())
    if typing.get_origin(kind) is typing.Literal:
        values = typing.get_args(kind)
    return ", ".join(map(_value, (True, False) if kind is bool else values))


def _kind(kind: Any) -> str:  # noqa: ANN401 - a type annotation
    names = {int: "integer", float: "number", str: "text", list[int]: "list of integers"}
    return names[kind]


def _bounds(field: FieldInfo, whole: bool) -> str:
    """Return the bounds of a number as text, e.g. ", 1 to 64"; "" if it has no bounds.

    `whole` is True if the number is an integer.
    """
    limits = {
        name: getattr(rule, name)
        for rule in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(rule, name)
    }
    if whole and "lt" in limits:
        limits["le"] = limits.pop("lt") - 1
    if {"ge", "le"} <= limits.keys():
        return f", {limits['ge']} to {limits['le']}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return "".join(f", {words[name]} {limits[name]}" for name in words if name in limits)
