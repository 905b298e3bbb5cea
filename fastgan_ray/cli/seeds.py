"""Parse the values of options for seeds: numbers and ranges, e.g. 0-3,8."""

from __future__ import annotations

from fastgan_ray.errors import UserError

MAX_SEEDS = 100_000


def parse_seeds(text: str, option: str = "--seeds") -> list[int]:
    """Return the list of seeds in `text`: "0-3,8" gives [0, 1, 2, 3, 8], and "3" gives [3].

    Raise UserError if `text` is not valid. `option` is the name of the option in the message.
    """
    ranges: list[range] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise UserError(f"{option}: must be numbers and ranges such as 0-35,99 (got {text!r})")
        ranges.append(range(int(first), int(last or first) + 1))
    # Count the seeds before listing them, because a long range can exceed the memory.
    count = sum(part.stop - part.start for part in ranges)
    empty = any(part.stop <= part.start for part in ranges)
    if empty or count > MAX_SEEDS or max(part.stop for part in ranges) > 2**63:
        raise UserError(
            f"{option}: must be 1 to {MAX_SEEDS:,} seeds below 2^63, and each range must begin "
            f"with its lowest seed (got {text!r})"
        )
    return [seed for part in ranges for seed in part]


def parse_training_seeds(text: str) -> list[int]:
    """Return the list of seeds in `text`. The seeds must be different and below 2^31.

    Raise UserError if `text` is not valid.
    """
    seeds = parse_seeds(text)
    if len(set(seeds)) < len(seeds) or max(seeds) >= 2**31:
        raise UserError(f"--seeds: must be different seeds below 2^31 (got {text!r})")
    return seeds


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
