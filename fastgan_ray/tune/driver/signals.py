"""Stop an experiment cleanly: one signal makes its trials save where they are, and ends it.

Ray Tune listens to a signal of its own while trials run. Before that, the signal raises here; after
that, when the results are being written, it is ignored.
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

STOPPING = "Stopping: trials save where they are. The same signal again ends everything at once."
NOTE = ".stop"  # a file in the folder of all trials, which running trials look for
SECONDS_BETWEEN_LOOKS = 1.0


class DriverStop:
    """The driver's part: handles the signals, and leaves a note for the running trials."""

    def __init__(self, stop: Stop, quiet: bool) -> None:
        self.stop = stop
        self._note: Path | None = None
        self._quiet = quiet
        self._in_main_thread = threading.current_thread() is threading.main_thread()

    def listen(self) -> None:
        """Handle the signals, also again after Ray has started, which then handles SIGTERM."""
        if self._in_main_thread:
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
        """Prepare for trials with folders in `trials`; remove the note of an earlier stop.

        InterruptedRunError if there was a signal already.
        """
        if self.stop.asked:
            raise self.stop.error("these trials had not started")
        self._note = trials / NOTE
        self._note.unlink(missing_ok=True)
        if self._in_main_thread:
            signal.signal(STOP_SIGNAL, self._raise)

    def trials_are_over(self) -> None:
        """Ignore the signal from here on: the driver is about to end."""
        if self._in_main_thread:
            signal.signal(STOP_SIGNAL, signal.SIG_IGN)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        raise self.stop.error("nothing had started")


@contextlib.contextmanager
def driver_stopping(quiet: bool) -> Iterator[DriverStop]:
    """Inside, Ctrl-C and SIGTERM stop what runs, with a message unless `quiet`."""
    with stopping(lambda stop: driver.asked(stop)) as stop:
        driver = DriverStop(stop, quiet)
        driver.listen()
        yield driver


class TrialStop:
    """A trial's part: notices a signal to its process, or the driver's note."""

    def __init__(self, stop: Stop, trials: Path) -> None:
        self._stop = stop
        self._note = trials / NOTE
        self._due = 0.0
        self._has_note = False

    @property
    def asked(self) -> bool:
        """Whether to save and stop; looks for the note at most once a second."""
        now = time.monotonic()
        if now >= self._due:
            self._has_note = self._note.exists()
            self._due = now + SECONDS_BETWEEN_LOOKS
        return self._has_note or self._stop.asked
