"""Keeping a run's working folder and its store the same.

A trial copies its rows, pictures and checkpoint after each evaluation; the driver copies the rest,
and fetches what trials on other machines have made. The state of the search is one object, so that
a crash at any moment leaves a whole one.
"""

from __future__ import annotations

import io
import shutil
import tarfile
import time
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial

from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.train.reporter import INTERRUPTED
from fastgan_ray.tune.ray.callback import TrialCallback
from fastgan_ray.tune.storage.remote import RemoteStorage, files_below
from fastgan_ray.tune.storage.snapshot import over_in_snapshot, snapshots
from fastgan_ray.tune.trial.folder import resume_kimg

SECONDS_BETWEEN = 10.0
TRIES = 3
# A trial's own files; all others are the driver's.
OF_TRIALS = ("checkpoint-", INTERRUPTED, "metrics.jsonl", "point.json", "grids", "pairs", "decoded")
STATE = "state"


class TrialSync:
    """The part of one trial, in its process. `folder` is the run's."""

    def __init__(self, store: RemoteStorage | None, folder: Path, trial: str) -> None:
        self._store = store
        self._folder = folder
        self._trial = f"trials/{trial}"
        self._sent: set[str] = set()

    def fetch(self) -> None:
        """Make this machine's files those of the store, which alone count: they may be left from
        another run, or the trial have gone on elsewhere. OSError if it cannot be reached."""
        if self._store is None:
            return
        there = [name for name in self._store.names(self._trial) if _is_trials(name)]
        here = self._here()
        rows = f"{self._trial}/metrics.jsonl"
        same = there == here and (
            rows not in there or self._store.read(rows) == (self._folder / rows).read_bytes()
        )
        if not same:
            for name in here:
                (self._folder / name).unlink()
            self._store.get(self._folder, there)
        self._sent = set(there)

    def send(self) -> None:
        """Copy what is new; then what is no longer here goes there, too."""
        if self._store is None:
            return
        for left in range(TRIES - 1, -1, -1):
            try:
                self._send(self._store)
                return
            except OSError:
                if not left:
                    return  # all stands here; the next evaluation sends it as well

    def _send(self, store: RemoteStorage) -> None:
        names = self._here()
        changing = f"{self._trial}/metrics.jsonl"
        store.put(self._folder, [n for n in names if n not in self._sent or n == changing])
        for name in self._sent - set(names):
            store.remove(name)
        self._sent = set(names)

    def _here(self) -> list[str]:
        return [name for name in files_below(self._folder, self._trial) if _is_trials(name)]


class DriverSync(TrialCallback):
    """The driver's part; the first of its callbacks, as others read what it fetches."""

    def __init__(self, store: RemoteStorage, folder: Path) -> None:
        self.fault = ""
        self._store = store
        self._folder = folder
        self._sent: dict[str, tuple[int, int]] = {}
        self._due = 0.0
        self._tidied: dict[str, list[str]] = {}
        self._behind: set[str] = set()

    def trial_started(self, trial: Trial) -> None:
        """Have the state sent at once: it must be there before what the trial will measure."""
        self._due = 0.0

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Fetch what a trial on another machine has made."""
        here = self._folder / "trials" / trial.trial_id
        rows = read_rows(here)
        ended = bool(rows) and rows[-1]["outcome"] == result["outcome"]
        if result["kimg"] > resume_kimg(here) or not (ended or result["outcome"] == "running"):
            try:
                TrialSync(self._store, self._folder, trial.trial_id).fetch()
                self._behind.discard(trial.trial_id)
            except OSError as error:  # with the next row
                self.fault = str(error)
                self._behind.add(trial.trial_id)

    def trial_ended(self, trial: Trial) -> None:
        """Have it sent."""
        self._due = 0.0

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Send what is new, now and then."""
        if time.monotonic() >= self._due:
            self.send()
            self._due = time.monotonic() + SECONDS_BETWEEN

    def send(self) -> None:
        """Copy what is new, the state last of all; `fault` says why that failed."""
        try:
            self._send()
            self.fault = ""
        except OSError as error:
            self.fault = str(error)

    def _send(self) -> None:
        found = {name: _stamp(self._folder / name) for name in files_below(self._folder)}
        mine = {name: stamp for name, stamp in found.items() if _is_drivers(name)}
        self._store.put(
            self._folder, [n for n, stamp in mine.items() if self._sent.get(n) != stamp]
        )
        self._sent = mine
        send_state(self._store, self._folder)
        for trial in over_in_snapshot(self._folder) - self._behind:
            now = [name for name in found if name.startswith(f"trials/{trial}/")]
            if now != self._tidied.get(trial):  # its checkpoints have gone, maybe
                self._tidied[trial] = now
                for name in self._store.names(f"trials/{trial}"):
                    if _is_checkpoints(name) and name not in found:
                        self._store.remove(name)


def send_state(store: RemoteStorage, folder: Path) -> None:
    """Copy the newest snapshot of the search's state, with the study that goes with it."""
    if not (found := snapshots(folder / STATE)):
        return
    name = f"{STATE}/{found[-1].name}.tar"
    before = store.names(STATE)
    if name in before:
        return
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(found[-1], found[-1].relative_to(folder))
        if (journal := folder / "study.journal").is_file():
            tar.add(journal, journal.name)
    store.write(name, content.getvalue())
    for older in before:
        store.remove(older)


def fetch_run(store: RemoteStorage, folder: Path) -> None:
    """Make the working folder that of the store, if a search went further there than here."""
    names = store.names()
    states = [name for name in names if name.startswith(f"{STATE}/")]
    here = [one.name for one in snapshots(folder / STATE)]
    if not names or (here and (not states or Path(states[-1]).stem <= here[-1])):
        return
    shutil.rmtree(folder, ignore_errors=True)
    store.get(folder, [name for name in names if name not in states])
    if states:
        content = store.read(states[-1])
        assert content is not None
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            tar.extractall(folder, filter="data")


def _is_trials(name: str) -> bool:
    parts = name.split("/")
    return parts[0] == "trials" and len(parts) > 2 and parts[2].startswith(OF_TRIALS)


def _is_checkpoints(name: str) -> bool:
    return _is_trials(name) and name.split("/")[2].startswith(("checkpoint-", INTERRUPTED))


def _is_drivers(name: str) -> bool:
    first, *rest = name.split("/")
    if rest and rest[0] in ("trials", STATE):  # of a run in this one, which has its own mirror
        return False
    if first == "trials":  # beside the trials' folders are Ray's files, of which `state` is made
        return len(rest) > 1 and not _is_trials(name) and not rest[-1].startswith(".")
    hidden = (first, *rest)[-1].startswith(".") and rest[-1:] != [".source"]
    return not hidden and not first.startswith(".") and first not in (STATE, "study.journal")


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:  # replaced at this very moment: the next time
        return (0, 0)
    return found.st_mtime_ns, found.st_size
