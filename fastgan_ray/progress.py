"""How long work says how far it is: a function that the items of the work pass through."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import Progress

SECONDS_BETWEEN_LINES = 10.0

_Item = TypeVar("_Item")


class Track(Protocol):
    """Yields the items as they are asked for, and may tell somebody how many are done."""

    def __call__(self, items: Sequence[_Item], doing: str) -> Iterator[_Item]:
        """The items in order; `doing` names the work, as in "drawing"."""
        ...


def silently(items: Sequence[_Item], doing: str) -> Iterator[_Item]:
    """The items, and nothing said."""
    return iter(items)


def track_on(console: Console) -> Track:
    """Work's progress: a bar that goes when it is done, or without a terminal plain lines."""

    def bar(items: Sequence[_Item], doing: str) -> Iterator[_Item]:
        with Progress(console=console, transient=True) as progress:
            yield from progress.track(items, description=doing)

    def lines(items: Sequence[_Item], doing: str) -> Iterator[_Item]:
        start = printed = time.monotonic()
        for done, item in enumerate(items):
            now = time.monotonic()
            if now - printed >= SECONDS_BETWEEN_LINES:
                left = (now - start) / done * (len(items) - done)
                console.print(
                    f"{doing}: {done} of {len(items)}, about {left:.0f} s left",
                    highlight=False,
                    soft_wrap=True,
                )
                printed = now
            yield item

    return bar if console.is_terminal else lines
