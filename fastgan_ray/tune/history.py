"""A trial's folder: its rows in metrics.jsonl, its checkpoints, its lock, and why it was stopped.

The folder, not Ray's snapshot, says how far a trial has come: a trial that starts again repeats its
rows and goes on from the checkpoint of the last of them, or ends at once if it had ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from fastgan_ray.report.rows import read_rows

Row = dict[str, Any]
Outcome = Literal["running", "finished", "diverged", "out_of_memory", "failed"]


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's content; a reader sees the old or the new."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text)
    draft.replace(path)


def write_rows(folder: Path, rows: list[Row]) -> None:
    """Replace the rows of a trial, atomically."""
    write_atomically(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def write_stop(folder: Path, kimg: float, reason: str) -> None:
    """Note that the search stops the trial at `kimg`, and why."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "stop.json", json.dumps({"kimg": kimg, "reason": reason}))


def stop_reason(folder: Path) -> str:
    """Why the search stopped the trial, or nothing."""
    path = folder / "stop.json"
    return str(json.loads(path.read_text())["reason"]) if path.is_file() else ""


def append_row(folder: Path, row: Row) -> None:
    """Add a row and wait until the disk has it."""
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def resume_point(folder: Path) -> tuple[list[Row], Path | None]:
    """The rows that still hold, and the checkpoint to go on from (None = from the start or ended).

    Rows after the newest checkpoint are left out, for they will be measured again; if the last row
    ended the trial, all rows hold.
    """
    rows = read_rows(folder)
    if has_ended(rows):
        return rows, None
    while rows:
        checkpoint = folder / rows[-1]["checkpoint"]
        if (checkpoint / "metadata.json").is_file():
            return rows, checkpoint
        rows.pop()
    return [], None


def has_ended(rows: Sequence[Row]) -> bool:
    """Whether the last of a trial's rows says that it is over."""
    return bool(rows) and rows[-1]["outcome"] != "running"


def linked_copy(source: Path, target: Path) -> None:
    """Copy a folder to `target`, in place of what is there; files are linked where they can be."""
    draft = target.with_name(f".{target.name}.draft")
    for left in (draft, target):
        shutil.rmtree(left, ignore_errors=True)
    draft.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, draft, copy_function=_link)
    draft.rename(target)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the exclusive lock of a file, waiting for it; a process that dies gives it back."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
