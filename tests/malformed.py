"""Real files with accidents in them, by hypothesis: always the same ones."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from fastgan_ray.errors import UserError

# One draw decides all of a file's accidents: hypothesis would take longer than what it tests.
ACCIDENTS = st.integers(0, 2**64).map(random.Random)
NOISE = [b"\n", b": ", b"\t", b"'", b"{", b"- ", b"&a ", b"*a", b"\xff" * 4, bytes(4), b"9" * 5]


def examples(count: int) -> settings:
    """So many, always the same; the clock of a busy machine decides nothing."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def refused(read: Any, *arguments: Any) -> bool:
    """Whether it is refused; anything but a UserError with a text is a failure of the test."""
    try:
        read(*arguments)
    except UserError as error:
        assert str(error).strip()
        return True
    return False


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Real bytes with up to three accidents."""
    for _ in range(rng.randint(1, 3)):
        start, length = rng.randrange(len(content) + 1), rng.randint(1, 12)
        noise = rng.choice(NOISE) if rng.random() < 0.5 else rng.randbytes(length)
        before, after = content[:start], content[start:]
        content = {
            "overwrite": before + noise + after[len(noise) :],
            "insert": before + noise + after,
            "remove": before + after[length:],
            "repeat": before + after[:length] * 3 + after,
            "cut": before,
        }[rng.choice(["overwrite", "overwrite", "insert", "remove", "repeat", "cut"])]
    return content
