"""Let a program continue after the reader of its output has ended, e.g. in `... | head`."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

CLOSED = (errno.EPIPE, errno.EIO)  # the reader of the pipe has ended, or the terminal is closed


@contextlib.contextmanager
def output_may_close() -> Iterator[None]:
    """Within this context, discard output if the reader of stdout or stderr has ended.

    Without this context, the next output would raise an exception. This could stop a search after
    hours, or let a successful command end with an error.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, ClosableStream(stream)) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # otherwise the interpreter flushes at exit and prints an error
        sys.stdout, sys.stderr = before


class ClosableStream:
    """A wrapper of a text stream that discards text if the reader of the stream has ended."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write or discard `text`; return its length in characters."""
        with self._closing_accepted():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Send or discard the text in the buffer of the stream."""
        with self._closing_accepted():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any attribute of the stream
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _closing_accepted(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in CLOSED:
                raise
            # From now on, all output, including the stream's buffer, goes to the null device.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
