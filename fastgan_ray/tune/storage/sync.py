"""Synchronise a run's local folder with its remote storage.

After each evaluation, a trial sends its rows, pictures and checkpoint to the storage. The driver
(the process that runs the search) sends all other files. It also fetches the files of trials on
other machines. The search's state is stored as a single object, so the stored state is complete
even after a crash. Ray's own upload is not used because it replaces one file at a time.
"""

from __future__ import annotations

import contextlib
import io
import tarfile
import time
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial

from fastgan_ray.errors import UserError
from fastgan_ray.files import atomic, write_atomically
from fastgan_ray.report.data.rows import METRICS, TRAINING, read_rows
from fastgan_ray.train.reporter import INTERRUPTED
from fastgan_ray.tune.ray.callback import TrialCallback
from fastgan_ray.tune.rounds.folder import START, start_number
from fastgan_ray.tune.storage.remote import RemoteStorage, files_below
from fastgan_ray.tune.storage.snapshot import ended_in_snapshot, snapshots
from fastgan_ray.tune.trial.folder import PLACE, resume_kimg

SECONDS_BETWEEN = 10.0
TRIES = 3
# Names and prefixes of the files that a trial sends. The driver sends all other files.
TRIAL_FILES = (
    *("checkpoint-", INTERRUPTED, METRICS, TRAINING, "point.json"),
    *("grids", "pairs", "decoded"),
)
CHECKPOINTS = ("checkpoint-", INTERRUPTED)
# These files say which version of a trial's files a machine has: other files may have equal names.
VERSIONS = (METRICS, "metadata.json", "point.json")
STATE = "state"
JOURNAL = "study.journal"
BEST = "best"  # the folder of the best generator
RUN_ID = "run_id"  # a file in a run's folder with a random text: two runs may have the same name


class TrialSync:
    """Synchronises the files of one trial with `storage`; does nothing if `storage` is None.

    `folder` is the run's folder, and `trial` is the trial's name.
    """

    def __init__(self, storage: RemoteStorage | None, folder: Path, trial: str) -> None:
        self._storage = storage
        self._folder = folder
        self._trial = f"trials/{trial}"
        self._sent: dict[str, tuple[int, int]] = {}

    def fetch(self) -> None:
        """Replace the trial's local files with the stored files, if they differ.

        Local files may be outdated, because the trial has continued on another machine. They may
        also belong to another run. Raises OSError if the storage cannot be reached.
        """
        if self._storage is None:
            return
        stored = [name for name in self._storage.names(self._trial) if _is_trials(name)]
        local = list(self._local())
        if stored != local or not all(self._is_same(name) for name in stored):
            for name in local:
                (self._folder / name).unlink()
            self._storage.get(self._folder, stored)
        self._sent = self._local()

    def send(self) -> None:
        """Send new and changed files; remove stored files that no longer exist on this machine.

        If `TRIES` attempts fail, no exception is raised. The next call, after the next evaluation,
        then sends the files.
        """
        for _ in range(TRIES if self._storage else 0):
            try:
                self._send()
                return
            except OSError:
                continue

    def send_place(self) -> None:
        """Send the file that says where the trial runs: it may die before its first evaluation.

        If the storage cannot be reached, the driver does not learn where a trial has died.
        """
        if self._storage is not None:
            with contextlib.suppress(OSError):
                self._storage.put(self._folder, [f"{self._trial}/{PLACE}"])

    def _send(self) -> None:
        assert self._storage is not None
        local = self._local()
        changed = [name for name, stamp in local.items() if self._sent.get(name) != stamp]
        self._storage.put(self._folder, changed)
        for name in self._sent.keys() - local.keys():
            self._storage.remove(name)
        self._sent = local

    def _is_same(self, name: str) -> bool:
        """Return whether the file `name` is stored as it is here, if it says which version it is.

        For example, a trial replaces its best checkpoint by one with the same names.
        """
        assert self._storage is not None
        if Path(name).name not in VERSIONS:
            return True
        return self._storage.read(name) == (self._folder / name).read_bytes()

    def _local(self) -> dict[str, tuple[int, int]]:
        """Return {name: stamp} of the trial's files on this machine, sorted by name."""
        names = files_below(self._folder, self._trial)
        return {name: _stamp(self._folder / name) for name in names if _is_trials(name)}


class DriverSync(TrialCallback):
    """A callback that sends the driver's files to the remote storage, and fetches trials' files.

    `folder` is the run's folder. This must be the first callback, because other callbacks read the
    files that it fetches. The attribute `fault` says why the last transfer failed; it is "" if the
    transfer succeeded.
    """

    def __init__(self, storage: RemoteStorage, folder: Path) -> None:
        self.fault = ""
        self._storage = storage
        self._folder = folder
        self._sent: dict[str, tuple[int, int]] = {}
        self._due = 0.0
        self._tidied: dict[str, list[str]] = {}
        self._behind: set[str] = set()
        self._placed: set[str] = set()  # trials whose place is known since their last start

    def trial_started(self, trial: Trial) -> None:
        """Send the search's state at Ray Tune's next step.

        So the stored state contains the trial before the trial's results arrive.
        """
        self._due = 0.0
        self._placed.discard(trial.trial_id)

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Fetch the trial's files if the trial has written newer files on another machine."""
        if trial.trial_id not in self._placed:
            self._fetch_place(trial)
        folder = self._folder / "trials" / trial.trial_id
        rows = read_rows(folder)
        has_outcome = bool(rows) and rows[-1]["outcome"] == result["outcome"]
        is_new = result["kimg"] > resume_kimg(folder)
        if is_new or not (has_outcome or result["outcome"] == "running"):
            try:
                TrialSync(self._storage, self._folder, trial.trial_id).fetch()
                self._behind.discard(trial.trial_id)
            except OSError as error:  # the next result fetches the files
                self.fault = str(error)
                self._behind.add(trial.trial_id)

    def trial_restarts(self, trial: Trial) -> None:
        """Fetch where the trial's process has died, which later callbacks read."""
        self._fetch_place(trial)
        self._placed.discard(trial.trial_id)

    def trial_failed(self, trial: Trial) -> None:
        """Fetch where the trial's process has died, which later callbacks read."""
        self._fetch_place(trial)

    def _fetch_place(self, trial: Trial) -> None:
        name = f"trials/{trial.trial_id}/{PLACE}"
        try:
            content = self._storage.read(name)
        except OSError as error:
            self.fault = str(error)
            return
        self._placed.add(trial.trial_id)
        if content is not None:
            (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._folder / name, content.decode())

    def trial_ended(self, trial: Trial) -> None:
        """Note that files must be sent at Ray Tune's next step, because a trial has ended."""
        self._due = 0.0

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Send new and changed files, at most every SECONDS_BETWEEN seconds."""
        if time.monotonic() >= self._due:
            self.send()
            self._due = time.monotonic() + SECONDS_BETWEEN

    def send(self) -> None:
        """Send new and changed files, then the search's state; set `fault` if this fails."""
        try:
            self._send()
            self.fault = ""
        except OSError as error:
            self.fault = str(error)

    def _send(self) -> None:
        stamps = {name: _stamp(self._folder / name) for name in files_below(self._folder)}
        own = {name: stamp for name, stamp in stamps.items() if _is_drivers(name)}
        changed = [name for name, stamp in own.items() if self._sent.get(name) != stamp]
        self._storage.put(self._folder, changed)
        for name in (self._sent or self._stored_best()).keys() - own.keys():
            self._storage.remove(name)
        self._sent = own
        send_state(self._storage, self._folder)
        for trial in ended_in_snapshot(self._folder) - self._behind:
            self._tidy(trial, [name for name in stamps if name.startswith(f"trials/{trial}/")])

    def _stored_best(self) -> dict[str, None]:
        """Return the stored files of best/, which may be of a trial that was the best before."""
        return dict.fromkeys(self._storage.names(BEST))

    def _tidy(self, trial: str, names: list[str]) -> None:
        """Remove a trial's checkpoint files from the storage if this machine has removed them.

        `trial` is the name of a trial that has ended. `names` are the trial's local files.
        """
        if names == self._tidied.get(trial):
            return
        self._tidied[trial] = names
        for name in self._storage.names(f"trials/{trial}"):
            if _is_checkpoints(name) and name not in names:
                self._storage.remove(name)


def send_state(storage: RemoteStorage, folder: Path) -> None:
    """Send the newest snapshot of the search's state, and Optuna's journal, as a single object.

    Do nothing if the storage already has this snapshot. Otherwise, older snapshots are removed.
    """
    if not (complete := snapshots(folder / STATE)):
        return
    name = f"{STATE}/{complete[-1].name}.tar"
    stored = storage.names(STATE)
    if name in stored:
        return
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(complete[-1], complete[-1].relative_to(folder))
        if (folder / JOURNAL).is_file():
            tar.add(folder / JOURNAL, JOURNAL)
    storage.write(name, content.getvalue())
    for older in stored:
        storage.remove(older)


def fetch_run(storage: RemoteStorage, folder: Path) -> None:
    """Replace a run's local folder with the stored copy, if the stored copy is newer.

    A confirmation that gets more trainings starts again, with a larger number in the file START,
    and its states are counted from 0. So this number decides first. Raises UserError if the local
    folder has another run.
    """
    names = storage.names()
    states = [name for name in names if name.startswith(f"{STATE}/")]
    local = [path.name for path in snapshots(folder / STATE)]
    start, text = folder / START, storage.read(START) if START in names else None
    here = start_number(start.read_text() if start.is_file() else None)
    stored = start_number(None if text is None else text.decode())
    if local and stored == here:
        is_newer = bool(states) and Path(states[-1]).stem > local[-1]
    else:
        is_newer = stored > here or (stored == here and not local)
    if not names or not is_newer:
        return
    _require_same_run(storage, folder)
    with atomic(folder) as draft:
        storage.get(draft, [name for name in names if name not in states])
        if states:
            content = storage.read(states[-1])
            assert content is not None
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                tar.extractall(draft, filter="data")


def _require_same_run(storage: RemoteStorage, folder: Path) -> None:
    """Raise UserError if the local folder has another run than the storage."""
    file = folder / RUN_ID  # a run of an earlier version lacks it
    if file.is_file() and storage.read(RUN_ID) != file.read_bytes():
        raise UserError(
            f"{folder}: this run is not the one in {storage}, which would replace it. Move this "
            "folder away, or choose another run with --name."
        )


def _is_trials(name: str) -> bool:
    parts = name.split("/")
    return parts[0] == "trials" and len(parts) > 2 and parts[2].startswith(TRIAL_FILES)


def _is_checkpoints(name: str) -> bool:
    return _is_trials(name) and name.split("/")[2].startswith(CHECKPOINTS)


def _is_drivers(name: str) -> bool:
    first, *rest = name.split("/")
    if rest and rest[0] in ("trials", STATE):  # the confirmation's own DriverSync sends these
        return False
    if first == "trials":  # Ray's own files in trials/ are part of the state
        is_trials = _is_trials(name) or rest[-1] == PLACE
        return len(rest) > 1 and not is_trials and not rest[-1].startswith(".")
    hidden = (first, *rest)[-1].startswith(".") and rest[-1:] != [".source"]
    return not hidden and not first.startswith(".") and first not in (STATE, JOURNAL)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:  # the file is being replaced; the next call sends it
        return (0, 0)
    return status.st_mtime_ns, status.st_size
