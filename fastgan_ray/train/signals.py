"""Handle Ctrl-C, SIGTERM and SIGHUP: the first signal asks to stop, the second quits at once.

The first signal only sets a flag. The program checks the flag, saves its state and stops cleanly.
SIGHUP says that the terminal is closed, for example because an ssh connection has ended. A closed
terminal may send SIGHUP several times, so a second signal that is a SIGHUP is ignored.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from fastgan_ray.errors import InterruptedRunError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHOW_CURSOR = "\x1b[?25h"


class Stop:
    """Says whether a signal has asked this process to stop, and which signal."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def asked(self) -> bool:
        """Return whether a signal has asked this process to stop."""
        return self.signal is not None

    def error(self, what: str) -> InterruptedRunError:
        """Return the error to raise after a stop, with the text `what`.

        The error's exit status is 128 + the signal's number.
        """
        return InterruptedRunError(what, 128 + (self.signal or signal.SIGINT))


@contextlib.contextmanager
def stopping(asked: Callable[[Stop], None]) -> Iterator[Stop]:
    """Within this context, let the first signal ask for a stop instead of ending the process.

    The context yields a `Stop`. When the first signal arrives (one of SIGNALS), it is stored in the
    `Stop`, and `asked` is called with the `Stop`. In Python, only the main thread receives signals,
    so in other threads the context does nothing.
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
    """Install a signal handler for SIGNALS: at the first signal, it sets `stop` and calls `asked`.

    Call this function only in the main thread. If SIGHUP is already ignored, it remains ignored,
    because the program then runs under `nohup`.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if not stop.asked:
            stop.signal = number
            asked(stop)
        elif number != signal.SIGHUP:
            end_at_once(number)

    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handle)


@contextlib.contextmanager
def hangup_kept_from_children() -> Iterator[None]:
    """Let processes that are started within this context survive SIGHUP.

    When a terminal is closed, all processes that were started from it get SIGHUP. The signal
    must not end child processes, because this process stops them cleanly. So SIGHUP is blocked
    within this context, and new processes inherit the block. If this process gets SIGHUP within the
    context, it handles the signal at the end of the context.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def say_at_once(text: str) -> None:
    """Write a line to standard error without a buffer, as a signal handler must do.

    A signal may arrive during a buffered write, and Python forbids a second buffered write at that
    moment.
    """
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())


def end_at_once(number: int) -> None:
    """Show the terminal's cursor again, and end this process with the signal's default action."""
    terminal = sys.__stdout__  # sys.stdout may be redirected to a file
    if terminal is not None and terminal.isatty():
        terminal.write(SHOW_CURSOR)
        terminal.flush()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
