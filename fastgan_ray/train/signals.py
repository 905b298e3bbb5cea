"""Being asked to stop: the first signal sets a flag, which is acted on in good order; the second
ends the process at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from fastgan_ray.errors import InterruptedRunError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = "\x1b[?25h"


class Stop:
    """Whether this process has been asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def asked(self) -> bool:
        """Whether it has."""
        return self.signal is not None

    def error(self, what: str) -> InterruptedRunError:
        """What to raise when `what` has stopped; its status is the shell's for the signal."""
        return InterruptedRunError(what, 128 + (self.signal or signal.SIGINT))


@contextlib.contextmanager
def stopping(asked: Callable[[Stop], None]) -> Iterator[Stop]:
    """Inside, Ctrl-C and SIGTERM ask to stop; `asked` is called at the first, in its handler.

    Outside the main thread, where Python has no signals, nobody can ask.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    listen(stop, asked)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen(stop: Stop, asked: Callable[[Stop], None]) -> None:
    """Take the two signals from whoever has them. The main thread's to call."""

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            end_at_once(number)
        stop.signal = number
        asked(stop)

    for number in SIGNALS:
        signal.signal(number, handle)


def say_at_once(text: str) -> None:
    """Write a line to standard error, past whatever writing a signal's handler has interrupted."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())


def end_at_once(number: int) -> None:
    """Die by a signal, as if nobody had caught it, but with the terminal's cursor back."""
    terminal = sys.__stdout__  # sys.stdout may lead to a file
    if terminal is not None and terminal.isatty():
        terminal.write(SHOW_CURSOR)
        terminal.flush()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
