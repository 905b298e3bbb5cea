"""Copies of Ray's record of a search, each whole and of one moment.

Ray uploads its files one by one and in place, so that a killed driver may leave half a file, or two
that disagree. A copy here is complete when its folder has its final name.
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

TRIALS_A_SECOND = 100


def seconds_between_records(trials: int) -> float:
    """How often Ray shall write down where a search of so many trials stands.

    What a killed driver forgets is what came since, and has to be tried again. As writing takes
    time for each trial that there is, it is done less often where there are many.
    """
    return max(1.0, trials / TRIALS_A_SECOND)


def save_snapshot(source: Path, folder: Path) -> None:
    """Copy Ray's files of the newest session in `source` to a new snapshot in `folder`."""
    older = snapshots(folder)
    number = int(older[-1].name) + 1 if older else 0
    folder.mkdir(exist_ok=True)
    with atomic(folder / f"{number:08d}") as draft:
        draft.mkdir()
        for pattern in STATE_FILES:
            if found := sorted(source.glob(pattern)):
                shutil.copy(found[-1], draft)
    for snapshot in older:
        shutil.rmtree(snapshot)


def restore_snapshot(folder: Path, target: Path) -> bool:
    """Put the newest snapshot in place of Ray's files in `target`; False if there is none."""
    found = snapshots(folder)
    if not found:
        return False
    for pattern in STATE_FILES:
        for path in target.glob(pattern):
            path.unlink()
    for path in found[-1].iterdir():
        shutil.copy(path, target)
    return True


def snapshots(folder: Path) -> list[Path]:
    """The complete snapshots, oldest first."""
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir())


def over_in_snapshot(folder: Path) -> set[str]:
    """The trials of a run's folder that a resume does not start again, by the newest snapshot."""
    found = snapshots(folder / "state")
    states = sorted(found[-1].glob(EXPERIMENT_STATE)) if found else []
    if not states:
        return set()
    return terminated_trials(states[-1])


class Snapshots(Callback):
    """Takes a snapshot whenever Ray has written its files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written = 0.0

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Copy the files if they changed; they are written in the thread that calls this."""
        if not trials:
            return
        source = state_folder(trials[0])
        states = sorted(source.glob(EXPERIMENT_STATE))
        written = states[-1].stat().st_mtime if states else 0.0
        if written > self._written:
            save_snapshot(source, self._folder)
            self._written = written
