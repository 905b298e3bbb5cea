"""Find the best or the last checkpoint in the folder of a run, or the file that a path means."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fastgan_ray.errors import UserError
from fastgan_ray.models.exported_folder import layout_of
from fastgan_ray.train.best import BEST, LAST, NUMBERED

Which = Literal["best", "last"]


def find_checkpoint(path: Path, which: Which = "best") -> Path:
    """Find a checkpoint's folder: `path` itself, or the best or last checkpoint in `path`.

    `path` may be a checkpoint, or the folder of a search, a training or a trial. `which` chooses
    the best or the last checkpoint. If a training keeps no best checkpoint, "best" means the last
    one. Raises UserError if no checkpoint is found.
    """
    if not path.exists():
        raise UserError(
            f"{path}: no such file or folder; give the path of a checkpoint, of a folder in runs/ "
            "or of a published .pth file"
        )
    last, result = sorted(path.glob(NUMBERED))[-1:], path / "best"
    folders = [path / BEST, path / "checkpoint", result / "checkpoint", *last]
    if which == "last":
        folders = [path / LAST, result / LAST, *last, *folders]
    for folder in [path, *folders]:
        if (folder / "metadata.json").is_file():
            return folder
    if trial := next(iter(sorted(path.glob("trials/*/checkpoint-*"))), None):
        raise UserError(
            f"{path}: has no best checkpoint; give the folder of a trial, e.g. {trial.parent}"
        )
    raise UserError(
        f"{path}: no checkpoint found; the folder must contain metadata.json, best/checkpoint or "
        "checkpoint-*"
    )


def locate(path: Path, which: Which = "best") -> Path:
    """Find the generator to load: return the path of its file, exported folder or checkpoint.

    If `path` is a file or an exported folder, it is returned. Otherwise the result is the
    checkpoint that `find_checkpoint` finds in `path`.
    """
    return path if path.is_file() or layout_of(path) else find_checkpoint(path, which)
