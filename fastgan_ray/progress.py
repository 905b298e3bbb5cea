"""Show the progress of long loops. A `Track` yields a loop's items and may show the progress."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import Progress

SECONDS_BETWEEN_LINES = 10.0

_Item = TypeVar("_Item")


class Track(Protocol):
    """A function that yields items one by one, and may display the progress."""

    def __call__(self, items: Sequence[_Item], label: str) -> Iterator[_Item]:
        """Yield the items in order; `label` names the work, e.g. "drawing"."""
        ...


def silently(items: Sequence[_Item], label: str) -> Iterator[_Item]:
    """Return an iterator over `items`, and show no progress."""
    return iter(items)


def track_on(console: Console) -> Track:
    """Return a `Track` that shows progress on `console`.

    On a terminal, it shows a progress bar, which disappears at the end. Otherwise, it prints a line
    about every 10 seconds.
    """

    def bar(items: Sequence[_Item], label: str) -> Iterator[_Item]:
        with Progress(console=console, transient=True) as progress:
            yield from progress.track(items, description=label)

    def lines(items: Sequence[_Item], label: str) -> Iterator[_Item]:
        start = printed = time.monotonic()
        for done, item in enumerate(items):
            now = time.monotonic()
            if now - printed >= SECONDS_BETWEEN_LINES:
                seconds = (now - start) / done * (len(items) - done)
                console.print(
                    f"{label}: {done} of {len(items)}, about {seconds:.0f} s left",
                    highlight=False,
                    soft_wrap=True,
                )
                printed = now
            yield item

    return bar if console.is_terminal else lines
