"""Stop an experiment cleanly: after one signal, the trials save their state, and the driver ends.

The driver is the process that runs the experiment. When it gets a signal such as Ctrl-C, it sends
itself Ray Tune's stop signal, `STOP_SIGNAL`. While trials run, Ray handles `STOP_SIGNAL`. Before
the trials start, this module handles it and raises InterruptedRunError. After the trials, while the
driver writes the results, `STOP_SIGNAL` is ignored.
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

STOPPING = "Stopping: trials save their state. Send the same signal again to quit immediately."
NOTE = ".stop"  # name of a file in the trials' folder; if it exists, running trials save and stop
SECONDS_BETWEEN_LOOKS = 1.0


class DriverStop:
    """Handles signals in the driver, the process that runs the experiment.

    At the first signal, it writes the file NOTE, which makes running trials stop. If `quiet` is
    true, it prints no message.
    """

    def __init__(self, stop: Stop, quiet: bool) -> None:
        self.stop = stop
        self._note: Path | None = None
        self._quiet = quiet
        self._in_main_thread = threading.current_thread() is threading.main_thread()

    def listen(self) -> None:
        """Install the signal handlers.

        Call this method again after Ray has started, because Ray replaces the handler of SIGTERM.
        """
        if self._in_main_thread:
            listen(self.stop, self.asked)
            signal.signal(STOP_SIGNAL, self._raise)

    def asked(self, stop: Stop) -> None:
        """Stop Ray Tune, print a message and write the file NOTE.

        This method is called at the first signal.
        """
        signal.raise_signal(STOP_SIGNAL)
        if not self._quiet:
            say_at_once(STOPPING)
        if self._note:
            self._note.touch()

    def begin(self, trials: Path) -> None:
        """Prepare for signals that arrive while trials run.

        `trials` is the folder that contains all trials' folders. Removes the file NOTE of an
        earlier stop. Raises InterruptedRunError if a signal has already arrived.
        """
        if self.stop.asked:
            raise self.stop.error("the trials had not started yet")
        self._note = trials / NOTE
        self._note.unlink(missing_ok=True)
        if self._in_main_thread:
            signal.signal(STOP_SIGNAL, self._raise)

    def trials_are_over(self) -> None:
        """Ignore `STOP_SIGNAL` from now on, because all trials are over."""
        if self._in_main_thread:
            signal.signal(STOP_SIGNAL, signal.SIG_IGN)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        raise self.stop.error("no trial had started")


@contextlib.contextmanager
def driver_stopping(quiet: bool) -> Iterator[DriverStop]:
    """Make Ctrl-C, SIGTERM and SIGHUP stop the experiment cleanly within this context.

    The context yields a DriverStop. At the first signal, a message is printed unless `quiet` is
    true.
    """
    with stopping(lambda stop: driver.asked(stop)) as stop:
        driver = DriverStop(stop, quiet)
        driver.listen()
        yield driver


class TrialStop:
    """Tells a trial when it must stop: after a signal, or if the driver has written the file NOTE.

    `stop` knows whether the trial's process has received a signal. `trials` is the folder that
    contains all trials' folders.
    """

    def __init__(self, stop: Stop, trials: Path) -> None:
        self._stop = stop
        self._note = trials / NOTE
        self._due = 0.0
        self._has_note = False

    @property
    def asked(self) -> bool:
        """True if the trial must save its state and stop.

        Whether the file NOTE exists is checked at most once a second.
        """
        now = time.monotonic()
        if now >= self._due:
            self._has_note = self._note.exists()
            self._due = now + SECONDS_BETWEEN_LOOKS
        return self._has_note or self._stop.asked
