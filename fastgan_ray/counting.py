"""Format counts and times for messages, e.g. "2 pictures" or "about 12 minutes"."""

from __future__ import annotations

import re


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: "1 picture", "2 pictures", "3 copies", "4 other processes".

    `noun` is singular. Only the last word of `noun` gets the plural form.
    """
    return f"{count} {noun if count == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """Return the plural of a regular English noun: pictures, copies, processes, batches."""
    if re.search(r"[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if re.search(r"(s|x|ch|sh)$", noun) else f"{noun}s"


def minutes_text(seconds: float) -> str:
    """Return an approximate time: "less than a minute", "about 1 minute", "about 12 minutes".

    If `seconds` is negative, the result is "less than a minute".
    """
    minutes = round(seconds / 60)
    return f"about {counted(minutes, 'minute')}" if minutes > 0 else "less than a minute"
