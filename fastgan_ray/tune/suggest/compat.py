"""Wrap the parts of Optuna that are private, undocumented or depend on its version.

Each function says why it is needed. `tests/test_compat.py` checks each one with the installed
Optuna. If Optuna changes, the test fails and its message says what changed.
"""

from __future__ import annotations

import os
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

LOCK_SUFFIX = ".lock"  # suffix of the file that Optuna creates to lock a journal during a write


def open_journal(journal: Path) -> JournalStorage:
    """Open a study's journal for reading and writing."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return JournalStorage(JournalFileBackend(str(journal)))


def unlock_journal(journal: Path) -> None:
    """Remove the lock of a killed process; otherwise Optuna waits 30 s for the lock to expire.

    Only one process may write the journal, and only that process may call this function.
    """
    for lock in journal.parent.glob(f"{journal.name}{LOCK_SUFFIX}*"):
        lock.unlink()


def cut_journal(journal: Path, size: int) -> None:
    """Cut a study's journal to its first `size` bytes, to restore an earlier state of the study.

    Optuna cannot delete a trial. But each change of a study appends whole lines to the journal, so
    the first lines of a journal are an earlier state of the study. A study that is open must be
    opened again after the cut.
    """
    os.truncate(journal, size)


def running_trial(study: optuna.Study, number: int) -> optuna.Trial:
    """Return a trial that `study.ask` returned earlier, maybe in another process.

    Optuna has no public function for this, because a `Trial` needs the trial's id in the storage,
    and this id is only in a private attribute of `FrozenTrial`.
    """
    return optuna.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)
