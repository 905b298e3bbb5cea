"""Exceptions for expected errors, with a command's exit status; and the test for a full disk."""

from __future__ import annotations

import errno
import os
import re

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(Exception):
    """The error for wrong input of the user; commands print the message and exit with status 2.

    The message says what is wrong, where it is, what is allowed, what the value is, and what to do.
    """


class DivergedError(Exception):
    """The error for a loss, a feature or a metric that is not finite; the message says which."""


class InterruptedRunError(Exception):
    """The exception for a training, a search or an ablation that was stopped before its end.

    Commands print how to resume the run. They exit with `status`, which is 128 + the number of the
    signal, e.g. 130 for Ctrl-C.
    """

    def __init__(self, message: str, status: int = 130) -> None:
        super().__init__(message)
        self.status = status


class FailedRunError(Exception):
    """The error for a search, an ablation or a confirmation that has failed.

    Either no training has a metric value, or several trainings in a row failed for the same reason.
    Commands print the message, which gives the reason, and exit with status 1.
    """


def full_disk(error: BaseException | None) -> str:
    """Return the operating system's message if a full disk caused `error`; else "".

    A full quota or the file-size limit also counts as a full disk.
    """
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        if match := re.search(r"\(os error (\d+)\)", str(error)):  # in safetensors' errors
            number = int(match[1])
        if number in FULL:
            return os.strerror(number)
        error = error.__cause__ or error.__context__
    return ""
