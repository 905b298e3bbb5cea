"""What the sections of a search or ablation file have in common, and what their rules look at."""

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


# A finite number that stays an int if the file writes one.
Number = Annotated[float, WrapValidator(_unchanged)]
Kimg = Annotated[float, Field(ge=1e-6, le=1e9)]


class FileSection(Section):
    """A mapping of the file; it writes its own error messages, because it knows its keys."""

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
    """What rules of several sections look at: the file's `base`, its arms' names, and `--set`.

    `base`: the settings (flat dotted keys) of `base` that are valid; `config`: the configuration
    that they make; `settings`: all of `base` under the overrides, None = not valid; `conflicts`:
    rules that overrides break only together with `base`; `total_kimg`: the length of a trial by
    `base`, None = unknown, because it is not valid or an override decides it.
    """

    base: dict[str, Any]
    config: RunConfig
    overrides: dict[str, Any]
    settings: dict[str, Any] | None
    conflicts: list[Violation]
    total_kimg: float | None
    arms: list[str]


def context_of(info: ValidationInfo) -> FileContext:
    """Return the context that a file is validated with."""
    assert isinstance(info.context, FileContext)
    return info.context


def read_each(
    entries: Mapping[Key, object], read: Callable[[Key, object], Item]
) -> dict[Key, Item]:
    """Call `read` with each key and its entry; raise all their errors at once."""
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
    """Read the member `tag` of a discriminated union, with errors at the keys of `entry`."""
    try:
        return union.validate_python(entry)
    except ValidationError as error:
        raise combine(
            # Pydantic puts the tag before the member's own keys.
            Violation(loc[1:] if loc[:1] == (tag,) else loc, rule)
            for loc, rule in explain(error, FileSection)
        ) from None
