"""Everything of Optuna that is private, undocumented or bound to its version.

Each entry says why it is needed. `tests/test_compat.py` checks each against the Optuna that is
installed, and fails with a sentence when Optuna changes.
"""

from __future__ import annotations

import os
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

LOCK_SUFFIX = ".lock"  # of the file with which Optuna locks a journal while it writes


def open_journal(journal: Path) -> JournalStorage:
    """Open a study's journal for reading and writing."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return JournalStorage(JournalFileBackend(str(journal)))


def unlock_journal(journal: Path) -> None:
    """Remove the lock that a killed process has left; Optuna would wait 30 s for it to expire.

    Only for the one process that may write the journal.
    """
    for lock in journal.parent.glob(f"{journal.name}{LOCK_SUFFIX}*"):
        lock.unlink()


def cut_journal(journal: Path, size: int) -> None:
    """Make a study forget all that it learnt since its journal had `size` bytes.

    Optuna cannot forget a trial. Its journal is a text file to which each change adds whole lines,
    so that a shorter one is the study as it was. A study that is open must be opened again.
    """
    os.truncate(journal, size)


def running_trial(study: optuna.Study, number: int) -> optuna.Trial:
    """Return a trial that `study.ask` gave earlier, maybe in another process.

    Optuna has no call for that: a `Trial` is made of the storage's id, which a `FrozenTrial` keeps
    to itself.
    """
    return optuna.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)
