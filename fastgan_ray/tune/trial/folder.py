"""Read and write the files in a trial's folder, and find where a trial continues.

The folder has the file metrics.jsonl with one row per evaluation, checkpoints, a lock, and the
reason of a stop. The folder, not Ray's state, defines the progress of a trial. A restarted trial
reports its rows again. It then continues from the checkpoint of its last row, or from the
checkpoint of a later interruption. If the trial had already ended, it ends immediately.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from fastgan_ray.files import write_atomically
from fastgan_ray.report.data.rows import METRICS, TRAINING, read_rows
from fastgan_ray.train.reporter import INTERRUPTED

LOCK = ".lock"
REPEATED = "repeated"  # this key marks a row that is reported again although later rows exist
PLACE = "place.json"  # says where the trial's process runs or last ran
CHECKPOINTS = ("checkpoint-*", "taken-over-*", INTERRUPTED)

Row = dict[str, Any]
Outcome = Literal["running", "finished", "diverged", "out_of_memory", "failed"]


def trial_name(number: int) -> str:
    """Return the id of a trial, for example "00003" for the number 3.

    The id is also the name of the trial's folder. The first trial has the number 0.
    """
    return f"{number:05d}"


def write_rows(folder: Path, rows: list[Row], file: str = METRICS) -> None:
    """Replace the rows in a file of a trial's folder with `rows`, atomically.

    The file has one row per line, as JSON.
    """
    write_atomically(folder / file, "".join(json.dumps(row) + "\n" for row in rows))


def cut_log(folder: Path, kimg: float) -> None:
    """Remove the training numbers (such as losses) after `kimg` from a trial's log.

    The trial continues at `kimg`, so it logs later numbers again.
    """
    if rows := read_rows(folder, TRAINING):
        write_rows(folder, [row for row in rows if row["kimg"] <= kimg], TRAINING)


def append_row(folder: Path, row: Mapping[str, Any], file: str = METRICS) -> None:
    """Append a row to a file of a trial's folder, and wait until the row is on the disk.

    Raises OSError if the row cannot be written; the file then has no incomplete row.
    """
    path = folder / file
    size = path.stat().st_size if path.is_file() else 0
    try:
        with path.open("a") as output:
            output.write(json.dumps(row) + "\n")
            output.flush()
            os.fsync(output.fileno())
    except OSError:
        os.truncate(path, size)  # remove the incomplete row, so that the next row has its own line
        raise


def write_stop(folder: Path, kimg: float, reason: str) -> None:
    """Write stop.json to a trial's folder: at which kimg the search stops the trial, and why."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "stop.json", json.dumps({"kimg": kimg, "reason": reason}))


def stop_reason(folder: Path) -> str:
    """Return why the search stopped the trial in `folder`; "" if the search did not stop it."""
    path = folder / "stop.json"
    return str(json.loads(path.read_text())["reason"]) if path.is_file() else ""


def reset_if_other_point(folder: Path, point: Mapping[str, Any]) -> None:
    """Remove all files from `folder` if they belong to a trial with other parameter values.

    `point` has the parameter values of the trial that starts now. A killed driver forgets the
    trials that it started after its last snapshot. A resumed search may then start other trials
    with the same numbers, and so in the same folders.
    """
    path, text = folder / "point.json", json.dumps(point, sort_keys=True)
    if path.is_file() and path.read_text() == text:
        return
    if path.is_file():
        # point.json is replaced last. If this process dies here, the next one removes the rest.
        for child in folder.iterdir():
            if child.is_dir():
                shutil.rmtree(child)
            elif child.name not in (LOCK, path.name):
                child.unlink()
    write_atomically(path, text)


def resume_point(folder: Path) -> tuple[list[Row], Path | None]:
    """Return the valid rows of metrics.jsonl, and the checkpoint from which the trial continues.

    A row is one evaluation. Rows after the newest checkpoint are not valid, because the trial makes
    these evaluations again. If the trial has ended, all rows are valid. The checkpoint is None if
    the trial has ended, or if it must start from the beginning.
    """
    rows = read_rows(folder)
    if has_ended(rows):
        return rows, None
    interrupted = folder / INTERRUPTED
    if (kimg := _kimg(interrupted)) is not None and (not rows or kimg > rows[-1]["kimg"]):
        return rows, interrupted
    while rows:
        checkpoint = folder / rows[-1]["checkpoint"]
        if (checkpoint / "metadata.json").is_file():
            return rows, checkpoint
        rows.pop()
    return [], None


def has_ended(rows: Sequence[Row]) -> bool:
    """Return whether the last of a trial's rows says that the trial has ended."""
    return bool(rows) and rows[-1]["outcome"] != "running"


def resume_kimg(folder: Path) -> float:
    """Return the kimg at which a trial continues if it starts again.

    If the trial has ended, return the kimg of its last row.
    """
    rows, checkpoint = resume_point(folder)
    if checkpoint is not None:
        return _kimg(checkpoint) or 0.0
    return float(rows[-1]["kimg"]) if rows else 0.0


def checkpoints(folder: Path) -> list[Path]:
    """Return the paths of all checkpoints in a trial's folder."""
    return [path for pattern in CHECKPOINTS for path in sorted(folder.glob(pattern))]


def _kimg(checkpoint: Path) -> float | None:
    path = checkpoint / "metadata.json"
    return float(json.loads(path.read_text())["kimg"]) if path.is_file() else None
