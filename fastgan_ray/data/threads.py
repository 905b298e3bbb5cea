"""Process many pictures at the same time, in threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastgan_ray.data.decode import pillow_warnings_off
from fastgan_ray.progress import Track

T = TypeVar("T")

_CHUNK = 64  # pictures in progress; this limits memory, not speed


def map_in_threads(
    function: Callable[[int], T], count: int, track: Track, doing: str
) -> Iterator[T]:
    """Call `function` with 0, 1, ..., `count` - 1 in several threads; yield the results in order.

    Threads are faster than a loop because Pillow releases the GIL. `track` shows the progress with
    the label `doing`.
    """
    with pillow_warnings_off(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results: Iterator[T] = iter(())
        for index in track(range(count), doing):
            if index % _CHUNK == 0:
                results = pool.map(function, range(index, min(index + _CHUNK, count)))
            yield next(results)
