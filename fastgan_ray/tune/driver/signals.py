"""Stopping an experiment: one signal ends it in good order, and has its trials save where they are.

Ray Tune is told by a signal, to which it listens while trials run. Before, the signal raises;
after, when the account is written, it does nothing.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from fastgan_ray.train.signals import Stop, listen, say_at_once, stopping
from fastgan_ray.tune.ray.compat import STOP_SIGNAL

STOPPING = "Stopping: trials save where they are. The same signal again ends all at once."
NOTE = ".stop"  # in the folder of all trials, which look for it
SECONDS_BETWEEN_LOOKS = 1.0


class DriverStop:
    """The driver's part: takes the signals, and leaves a note for the trials that run."""

    def __init__(self, stop: Stop, quiet: bool) -> None:
        self.stop = stop
        self._note: Path | None = None
        self._quiet = quiet
        self._here = threading.current_thread() is threading.main_thread()

    def listen(self) -> None:
        """Take the signals (again: Ray takes SIGTERM when it starts); none have been so far."""
        if self._here:
            listen(self.stop, self.asked)
            signal.signal(STOP_SIGNAL, self._raise)

    def asked(self, stop: Stop) -> None:
        """Act on the first signal."""
        signal.raise_signal(STOP_SIGNAL)
        if not self._quiet:
            say_at_once(STOPPING)
        if self._note:
            self._note.touch()

    def begin(self, trials: Path) -> None:
        """Trials, whose folders are in `trials`, are about to begin. The note of an earlier stop is
        removed; InterruptedRunError if there has been a signal already."""
        if self.stop.asked:
            raise self.stop.error("these trials had not begun")
        self._note = trials / NOTE
        self._note.unlink(missing_ok=True)
        if self._here:
            signal.signal(STOP_SIGNAL, self._raise)

    def trials_are_over(self) -> None:
        """From here on, the end is near anyway."""
        if self._here:
            signal.signal(STOP_SIGNAL, signal.SIG_IGN)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        raise self.stop.error("nothing had begun")


@contextlib.contextmanager
def driver_stopping(quiet: bool) -> Iterator[DriverStop]:
    """Inside, Ctrl-C and SIGTERM stop what runs, which is said unless `quiet`."""
    with stopping(lambda stop: driver.asked(stop)) as stop:
        driver = DriverStop(stop, quiet)
        driver.listen()
        yield driver


class TrialStop:
    """A trial's part: has its process had a signal, or has the driver left a note?"""

    def __init__(self, stop: Stop, trials: Path) -> None:
        self._stop = stop
        self._note = trials / NOTE
        self._due = 0.0
        self._noted = False

    @property
    def asked(self) -> bool:
        """Whether to save and stop; looks at the disk once a second at most."""
        now = time.monotonic()
        if now >= self._due:
            self._noted = self._note.exists()
            self._due = now + SECONDS_BETWEEN_LOOKS
        return self._noted or self._stop.asked
