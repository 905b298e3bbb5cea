"""Define the exceptions that commands print as a sentence instead of a traceback."""

from __future__ import annotations

import errno
import os
import re

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(Exception):
    """The user's input is wrong; commands print the text and exit with status 2.

    The text says what is wrong and where, what is allowed, what was given, and what to do.
    """


class DivergedError(Exception):
    """A loss, a feature or a metric is not finite; the message says which one."""


class InterruptedRunError(Exception):
    """A training, a search or an ablation was stopped before its end; it can be resumed.

    Commands print how to resume, and exit with `status`: 128 + the signal's number, as in a shell
    (130 for Ctrl-C).
    """

    def __init__(self, message: str, status: int = 130) -> None:
        super().__init__(message)
        self.status = status


class FailedRunError(Exception):
    """A search, an ablation or a confirmation has failed.

    Either no training has a metric value, or several trainings in a row have failed for the same
    reason.

    Commands print the text, which says why, and exit with status 1.
    """


def full_disk(error: BaseException | None) -> str:
    """Return the system's message if a full disk or quota is the cause of an error; else ""."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        if match := re.search(r"\(os error (\d+)\)", str(error)):  # in safetensors' errors
            number = int(match[1])
        if number in FULL:
            return os.strerror(number)
        error = error.__cause__ or error.__context__
    return ""
