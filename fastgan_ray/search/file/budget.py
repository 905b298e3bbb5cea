"""Where a search ends and how it is confirmed: `budget` and `confirm` of its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from fastgan_ray.config.strict_yaml import Document, format_value, suggestion
from fastgan_ray.search.file.parameters import is_int, is_number

MOST_ARMS = 20
MOST_SEEDS = 100


@dataclass(frozen=True)
class Confirm:
    """The `top` best trials are trained anew beside the published default, with `seeds` seeds."""

    top: int = 2
    seeds: int = 3


Confirmation = Confirm | Literal["auto", "off"]


@dataclass(frozen=True)
class Budget:
    """What a search may spend, its confirmation counted; None = as much as it takes.

    `kimg`: thousands of images shown in all trainings; `hours`: of the clock, over all sessions;
    `gpu_hours`: of each trial the hours that it ran times its share of a GPU.
    """

    kimg: float | None = None
    hours: float | None = None
    gpu_hours: float | None = None

    def __bool__(self) -> bool:
        return any(limit is not None for limit in (self.kimg, self.hours, self.gpu_hours))


def read_confirm(document: Document) -> Confirmation:
    """`confirm`: false, or {top, seeds}; "auto" where it is left out."""
    if "confirm" not in document.data:
        return "auto"
    given = document.data["confirm"]
    if given is False:
        return "off"
    if not isinstance(given, dict):
        rule = "must be false, or a mapping such as {top: 2, seeds: 3}; leave it out for what the "
        _note(document, ("confirm",), f"{rule}search's length allows (got {format_value(given)})")
        return "auto"
    _only(document, "confirm", given, Confirm)
    sizes = {}
    for key, least, most in (("top", 1, MOST_ARMS), ("seeds", 2, MOST_SEEDS)):
        value = given.get(key, getattr(Confirm, key))
        if is_int(value) and least <= value <= most:
            sizes[key] = value
        else:
            rule = f"must be a whole number from {least} to {most} (got {format_value(value)})"
            _note(document, ("confirm", key), rule)
    return Confirm(**sizes)


def read_budget(document: Document) -> Budget:
    """`budget`: any of kimg, hours and gpu_hours; what is at fault is left out."""
    given = document.data.get("budget")
    if given is None and "budget" not in document.data:
        return Budget()
    if not isinstance(given, dict) or not given:
        rule = "must be a mapping of any of kimg, hours, gpu_hours, such as {hours: 8}"
        _note(document, ("budget",), f"{rule} (got {format_value(given)})")
        return Budget()
    _only(document, "budget", given, Budget)
    limits: dict[str, float] = {}
    for field in fields(Budget):
        value = given.get(field.name)
        if field.name not in given:
            continue
        if is_number(value) and 0 < value <= 1e9:
            limits[field.name] = float(value)
        else:
            rule = f"must be a number above 0 and at most 1e9 (got {format_value(value)})"
            _note(document, ("budget", field.name), rule)
    return Budget(**limits)


def _only(
    document: Document, section: str, given: Mapping[str, Any], kind: type[Budget] | type[Confirm]
) -> None:
    keys = [field.name for field in fields(kind)]
    for key in given:
        if key not in keys:
            hint = suggestion(key, keys) or f"; the keys are {', '.join(keys)}"
            _note(document, (section, key), f"is no key of {section}{hint}")


def _note(document: Document, keys: tuple[str, ...], rule: str) -> None:
    document.faults.add(document.line(*keys), f"{'.'.join(keys)}: {rule}")
