"""A trial's folder: its rows in metrics.jsonl, its checkpoints, its lock, and why it was stopped.

The folder, not Ray's snapshot, says how far a trial has come: a trial that starts again repeats its
rows and goes on from the checkpoint of the last of them, or from where it was stopped after that;
or it ends at once if it had ended.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from fastgan_ray.files import write_atomically
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.train.reporter import INTERRUPTED

LOCK = ".lock"  # of a trial's folder

Row = dict[str, Any]
Outcome = Literal["running", "finished", "diverged", "out_of_memory", "failed"]


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


def reset_if_other_point(folder: Path, point: Mapping[str, Any]) -> None:
    """Make the folder that of a trial at `point`: if another's files are there, they go.

    A killed driver forgets trials that it began since it last wrote down which; what it tries
    under their numbers, when it goes on, may be other points.
    """
    path, text = folder / "point.json", json.dumps(point, sort_keys=True)
    if path.is_file() and path.read_text() == text:
        return
    if path.is_file():
        # The old point goes last: whoever dies here is followed by one who sees that it was there.
        for left in folder.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name not in (LOCK, path.name):
                left.unlink()
    write_atomically(path, text)


def append_row(folder: Path, row: Row) -> None:
    """Add a row and wait until the disk has it; OSError, and no half row, if the disk is full."""
    path = folder / "metrics.jsonl"
    before = path.stat().st_size if path.is_file() else 0
    try:
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        os.truncate(path, before)  # or the next row would be glued to the rest of this one
        raise


def resume_point(folder: Path) -> tuple[list[Row], Path | None]:
    """The rows that still hold, and the checkpoint to go on from (None = from the start or ended).

    Rows after the newest checkpoint are left out, for they will be measured again; if the last row
    ended the trial, all rows hold.
    """
    rows = read_rows(folder)
    if has_ended(rows):
        return rows, None
    later = folder / INTERRUPTED
    if (kimg := _kimg(later)) is not None and (not rows or kimg > rows[-1]["kimg"]):
        return rows, later
    while rows:
        checkpoint = folder / rows[-1]["checkpoint"]
        if (checkpoint / "metadata.json").is_file():
            return rows, checkpoint
        rows.pop()
    return [], None


def has_ended(rows: Sequence[Row]) -> bool:
    """Whether the last of a trial's rows says that it is over."""
    return bool(rows) and rows[-1]["outcome"] != "running"


def reached(folder: Path) -> float:
    """The kimg from which a trial would go on."""
    rows, checkpoint = resume_point(folder)
    if checkpoint is not None:
        return _kimg(checkpoint) or 0.0
    return float(rows[-1]["kimg"]) if rows else 0.0


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints in a trial's folder."""
    names = ("checkpoint-*", "taken-over-*", INTERRUPTED)
    return [path for name in names for path in sorted(folder.glob(name))]


def _kimg(checkpoint: Path) -> float | None:
    path = checkpoint / "metadata.json"
    return float(json.loads(path.read_text())["kimg"]) if path.is_file() else None
