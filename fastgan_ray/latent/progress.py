"""How long work says how far it is: a function that the items of the work pass through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

_Item = TypeVar("_Item")


class Track(Protocol):
    """Yields the items as they are asked for, and may tell somebody how many are done."""

    def __call__(self, items: Sequence[_Item], doing: str) -> Iterator[_Item]:
        """The items in order; `doing` names the work, as in "drawing"."""
        ...


def silently(items: Sequence[_Item], doing: str) -> Iterator[_Item]:
    """The items, and nothing said."""
    return iter(items)
