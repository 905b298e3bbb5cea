"""Save snapshots of Ray's state that are complete and consistent, and restore them.

Ray overwrites its state files one by one. If the driver is killed while Ray writes, a file may be
incomplete, or the files may be from different times. A snapshot is a folder that gets its final
name only when all its files are written.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from fastgan_ray.files import atomic
from fastgan_ray.tune.ray.compat import (
    EXPERIMENT_STATE,
    STATE_FILES,
    change_configs,
    state_folder,
    terminated_trials,
)

TRIALS_PER_SECOND = 100


def state_period(trials: int) -> float:
    """Return the seconds between two writes of Ray's state, for a search with `trials` trials.

    If the driver is killed, its work since the last write is lost. A write takes longer if there
    are more trials, so a search with many trials writes less often.
    """
    return max(1.0, trials / TRIALS_PER_SECOND)


def save_snapshot(source: Path, folder: Path) -> None:
    """Copy Ray's newest state files from `source` to a new snapshot; remove older snapshots.

    `folder` is the folder of all snapshots.
    """
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


def restore_snapshot(
    folder: Path,
    target: Path,
    configure: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None,
) -> bool:
    """Replace Ray's state files in `target` with the newest snapshot in `folder`.

    `configure` takes the suggestion of a trial that has not ended, and returns the configuration
    with which the trial continues. If `configure` is None, configurations stay the same. Returns
    True; if there is no snapshot, returns False and changes nothing.
    """
    complete = snapshots(folder)
    if not complete:
        return False
    for pattern in STATE_FILES:
        for path in target.glob(pattern):
            path.unlink()
    for path in complete[-1].iterdir():
        shutil.copy(path, target)
    if configure is not None:
        for path in target.glob(EXPERIMENT_STATE):
            change_configs(path, lambda config: {**config, "run": configure(config)})
    return True


def snapshots(folder: Path) -> list[Path]:
    """Return the folders of all complete snapshots in `folder`, oldest first."""
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir())


def ended_in_snapshot(folder: Path) -> set[str]:
    """Return the ids of the trials that have ended and that a resumed run does not start again.

    `folder` is the run's folder. The ids are read from the newest snapshot.
    """
    complete = snapshots(folder / "state")
    states = sorted(complete[-1].glob(EXPERIMENT_STATE)) if complete else []
    return terminated_trials(states[-1]) if states else set()


class Snapshots(Callback):
    """A callback that takes a snapshot each time Ray has written its state files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last_write = 0.0

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Take a snapshot if Ray's state files have changed.

        Ray writes these files in the same thread in which it calls this method, so the files do not
        change while they are copied.
        """
        if not trials:
            return
        source = state_folder(trials[0])
        states = sorted(source.glob(EXPERIMENT_STATE))
        last_write = states[-1].stat().st_mtime if states else 0.0
        if last_write > self._last_write:
            save_snapshot(source, self._folder)
            self._last_write = last_write
