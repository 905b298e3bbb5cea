"""Let only one process at a time work on a run, and find this process."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from fastgan_ray.errors import UserError
from fastgan_ray.files import write_atomically

NOTE = ".driver.json"  # in a run's folder; it names the process that works on the run
# Two start times of a process may differ by this much, because the system's clock may be adjusted
# while the process runs.
SECONDS_OF_ROUNDING = 2.0


@contextlib.contextmanager
def only_driver(folder: Path) -> Iterator[None]:
    """Lock a run's folder within this context.

    Raises UserError if another process has locked it, or if the folder cannot be written. The
    operating system releases the lock when the process dies.
    """
    try:
        lock = FileLock(folder / ".lock").acquire(blocking=False)
    except Timeout as error:
        raise UserError(
            f"{folder}: another process is working on this run. Stop that process first, with: "
            f"{shlex.join(['fastgan-ray', 'stop', str(folder)])}"
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{folder}: cannot be written ({reason})") from error
    with lock:
        _write_note(folder)
        try:
            yield
        finally:
            (folder / NOTE).unlink(missing_ok=True)


def find_driver(folder: Path) -> psutil.Process | None:
    """Return the process that works on a run; None if no live process works on it.

    The start time of the process is also compared, because a new process may get the ID of a killed
    process. Raises UserError if the process runs on another machine.
    """
    path = folder / NOTE
    if not path.is_file():
        return None
    note = json.loads(path.read_text())
    if note["host"] != socket.gethostname():
        raise UserError(
            f"{folder}: process {note['pid']} of the machine {note['host']} works on this run. "
            f"Use this command on that machine. If it no longer exists, remove {path}."
        )
    try:
        process = psutil.Process(note["pid"])
        same = abs(process.create_time() - note["started"]) < SECONDS_OF_ROUNDING
        return process if same and is_alive(process) else None
    except psutil.NoSuchProcess:
        return None


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie (ended, but not yet removed) does not run."""
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _write_note(folder: Path) -> None:
    note = {
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "host": socket.gethostname(),
    }
    write_atomically(folder / NOTE, json.dumps(note))
