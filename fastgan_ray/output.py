"""Let a program continue when nobody reads its output any more, as in `fastgan-ray tune | head`."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

CLOSED = (errno.EPIPE, errno.EIO)  # the reader of the pipe has ended; the terminal is closed


@contextlib.contextmanager
def output_may_close() -> Iterator[None]:
    """Discard standard output and standard error once they are closed, within this context.

    Without this, the next line of output ends a search of hours, or turns the end of a command that
    succeeded into an error.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, ClosableStream(stream)) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # the interpreter would do it at its end, and print an error
        sys.stdout, sys.stderr = before


class ClosableStream:
    """A text stream; once its output is closed, everything written to it is discarded."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text; return its length."""
        with self._closing_accepted():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Send what is in the buffer."""
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
            # From now on, the stream writes to the null device, also what is still in its buffer.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
