"""Wrap the parts of Optuna that are private, undocumented or different in other versions.

Each docstring says why the function is needed. `tests/test_compat.py` checks each function with the
installed Optuna. If Optuna changes, a test fails and says what no longer works.
"""

from __future__ import annotations

import os
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

LOCK_SUFFIX = ".lock"  # suffix of the file that Optuna creates to lock a journal during a write


def open_journal(journal: Path) -> JournalStorage:
    """Open the file `journal` of an Optuna study for reading and writing."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return JournalStorage(JournalFileBackend(str(journal)))


def unlock_journal(journal: Path) -> None:
    """Remove the lock that a killed process has left on a study's journal.

    Otherwise, Optuna waits 30 s until the lock expires. Call this function only in the single
    process that writes the journal.
    """
    for lock in journal.parent.glob(f"{journal.name}{LOCK_SUFFIX}*"):
        lock.unlink()


def cut_journal(journal: Path, size: int) -> None:
    """Cut a study's journal to its first `size` bytes, to restore an earlier state of the study.

    Optuna cannot delete a trial. But each change of a study appends whole lines to the journal. So
    the first lines of a journal are an earlier state of the study. After the cut, the caller must
    open the study again.
    """
    os.truncate(journal, size)


def running_trial(study: optuna.Study, number: int) -> optuna.Trial:
    """Return the `Trial` with the number `number`, which `study.ask` returned earlier.

    `study.ask` may have been called in another process. Optuna has no public function for this. A
    `Trial` needs the trial's id in the storage, and this id is only in a private attribute of
    `FrozenTrial`.
    """
    return optuna.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)
