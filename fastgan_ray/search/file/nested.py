"""Nested parameters, as in W&B's sweep files: `model: {parameters: {ngf: ...}}` is model.ngf."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from fastgan_ray.config.aliases import current_name
from fastgan_ray.config.strict_yaml import Document

KEY = "parameters"


def with_flat_parameters(document: Document) -> Document:
    """Return a search file's document with dotted names in place of nested parameters.

    The lines of the nested keys become the lines of the dotted names. If a parameter is both nested
    and dotted, add an error to the document.
    """
    parameters = document.data.get(KEY)
    if not isinstance(parameters, dict) or not any(map(_is_nested, parameters.values())):
        return document
    flat: dict[str, Any] = {}
    lines = dict(document.lines)
    for path, name, entry in _entries(parameters, KEY, ""):
        line = document.lines.get(path)
        if name in flat:
            first = lines.get(f"{KEY}.{name}")
            document.errors.add(line, f"{name}: is given twice (first in line {first})")
            continue
        flat[name] = entry
        for old, number in document.lines.items():
            if old == path or old.startswith(f"{path}."):
                lines[f"{KEY}.{name}{old.removeprefix(path)}"] = number
    return replace(document, data={**document.data, KEY: flat}, lines=lines)


def _is_nested(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get(KEY), dict)


def _entries(
    parameters: Mapping[str, Any], path: str, prefix: str
) -> Iterator[tuple[str, str, object]]:
    """Yield (path in the file, dotted name, entry) of each parameter, in the order of the file."""
    for key, entry in parameters.items():
        here, name = f"{path}.{key}", current_name(f"{prefix}{key}")
        if _is_nested(entry) and not entry.keys() - {KEY}:
            yield from _entries(entry[KEY], f"{here}.{KEY}", f"{name}.")
        else:
            yield here, name, entry
