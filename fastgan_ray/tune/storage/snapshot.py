"""Copies of Ray's state of a search, each complete and of one moment.

Ray writes its files one by one and in place, so a killed driver may leave half a file, or two files
of different moments. A copy here is complete when its folder has its final name.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ray.tune import Callback
from ray.tune.experiment import Trial

from fastgan_ray.files import atomic
from fastgan_ray.tune.ray.compat import (
    EXPERIMENT_STATE,
    STATE_FILES,
    state_folder,
    terminated_trials,
)

TRIALS_PER_SECOND = 100


def state_period(trials: int) -> float:
    """Return the seconds between two writes of Ray's state, for so many trials.

    A killed driver forgets what has happened since the last write, and tries it again. Writing
    takes time for each trial, so it is done less often when there are many.
    """
    return max(1.0, trials / TRIALS_PER_SECOND)


def save_snapshot(source: Path, folder: Path) -> None:
    """Copy Ray's newest files in `source` to a new snapshot in `folder`; remove the older ones."""
    older = snapshots(folder)
    number = int(older[-1].name) + 1 if older else 0
    folder.mkdir(exist_ok=True)
    with atomic(folder / f"{number:08d}") as draft:
        draft.mkdir()
        for pattern in STATE_FILES:
            if files := sorted(source.glob(pattern)):
                shutil.copy(files[-1], draft)
    for snapshot in older:
        shutil.rmtree(snapshot)


def restore_snapshot(folder: Path, target: Path) -> bool:
    """Replace Ray's files in `target` by the newest snapshot; return False if there is none."""
    complete = snapshots(folder)
    if not complete:
        return False
    for pattern in STATE_FILES:
        for path in target.glob(pattern):
            path.unlink()
    for path in complete[-1].iterdir():
        shutil.copy(path, target)
    return True


def snapshots(folder: Path) -> list[Path]:
    """Return the complete snapshots, the oldest first."""
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir())


def ended_in_snapshot(folder: Path) -> set[str]:
    """Return the trials that a resume of the run in `folder` does not start again."""
    complete = snapshots(folder / "state")
    states = sorted(complete[-1].glob(EXPERIMENT_STATE)) if complete else []
    return terminated_trials(states[-1]) if states else set()


class Snapshots(Callback):
    """Takes a snapshot whenever Ray has written its files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last_write = 0.0

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Copy the files if they have changed; Ray writes them in the thread that calls this."""
        if not trials:
            return
        source = state_folder(trials[0])
        states = sorted(source.glob(EXPERIMENT_STATE))
        last_write = states[-1].stat().st_mtime if states else 0.0
        if last_write > self._last_write:
            save_snapshot(source, self._folder)
            self._last_write = last_write
