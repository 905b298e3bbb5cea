"""Run a command in the background, so that it continues after the terminal is closed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

DETACHED = "FASTGAN_RAY_DETACHED"  # environment variable, set in background processes


def is_detached() -> bool:
    """Return whether `detach` started this process; only the first call can return True.

    The first call removes the environment variable DETACHED, so that subprocesses do not inherit
    it.
    """
    return os.environ.pop(DETACHED, "") != ""


def detach(words: Sequence[str]) -> None:
    """Start a command in a background process; `words` are its command-line arguments.

    This process prints the output of the background process until the trials start, and then
    returns. Later output goes to a file in the run's folder. If the background process ends before
    the trials start, this process exits with the same status.
    """
    command = [sys.executable, "-m", "fastgan_ray", *(word for word in words if word != "--detach")]
    process = subprocess.Popen(  # noqa: S603 - the user's own command
        command,
        env={**os.environ, DETACHED: "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
        # The command now writes to a file, or it has ended.
        status = process.wait(timeout=2.0)
    except subprocess.TimeoutExpired:
        return
    except KeyboardInterrupt:
        process.terminate()
        raise
    sys.exit(status)
