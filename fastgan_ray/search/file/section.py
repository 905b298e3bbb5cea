"""The base class of the sections of search and ablation files, and the facts that checks need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import (
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler
from typing_extensions import Self

from fastgan_ray.config.rules import Violation, combine, explain
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.section import Section

Item = TypeVar("Item")
Key = TypeVar("Key", str, int)


def _unchanged(value: object, handler: Callable[[object], object]) -> object:
    handler(value)
    return value


# A finite number. An int in the file stays an int.
Number = Annotated[float, WrapValidator(_unchanged)]
Kimg = Annotated[float, Field(ge=1e-6, le=1e9)]


class FileSection(Section):
    """A section of a search or ablation file; it makes the error messages about its own keys."""

    model_config = ConfigDict(validate_default=False)

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401
        try:
            return handler(data)
        except ValidationError as error:
            raise combine(explain(error, cls)) from None


@dataclass(frozen=True)
class FileContext:
    """The facts about `base`, the arms and `--set` that the checks of other sections need.

    `base`: the valid settings (flat dotted keys) of the file's `base`. `config`: the configuration
    that results from these settings. `overrides`: the settings of `--set`. `settings`: all settings
    of `base` with the overrides applied; None if they are not valid. `conflicts`: the rules that
    are broken when the overrides are applied to `base`. `total_kimg`: the length of a trial
    according to `base`; None if this setting is not valid, or if an override replaces it. `arms`:
    the names of the arms. `base_names`: the names of all settings in the file's `base`, including
    settings that are not valid.
    """

    base: dict[str, Any]
    config: RunConfig
    overrides: dict[str, Any]
    settings: dict[str, Any] | None
    conflicts: list[Violation]
    total_kimg: float | None
    arms: list[str]
    base_names: frozenset[str]


def context_of(info: ValidationInfo) -> FileContext:
    """Return the FileContext of the current validation."""
    assert isinstance(info.context, FileContext)
    return info.context


def read_each(
    entries: Mapping[Key, object], read: Callable[[Key, object], Item]
) -> dict[Key, Item]:
    """Return {key: read(key, entry)} for all entries; raise the errors of all entries at once."""
    items: dict[Key, Item] = {}
    broken: list[Violation] = []
    for key, entry in entries.items():
        try:
            items[key] = read(key, entry)
        except ValidationError as error:
            violations = explain(error, FileSection)
            broken += [violation.below(key) for violation in violations]
    if broken:
        raise combine(broken)
    return items


def read_tagged(union: TypeAdapter[Item], entry: object, tag: str) -> Item:
    """Validate `entry` as a member of a discriminated union; `tag` is the member's tag.

    The location of each error is a path inside the entry, without the tag.
    """
    try:
        return union.validate_python(entry)
    except ValidationError as error:
        raise combine(
            # Pydantic puts the tag before the keys of the entry; remove it.
            Violation(loc[1:] if loc[:1] == (tag,) else loc, rule)
            for loc, rule in explain(error, FileSection)
        ) from None
