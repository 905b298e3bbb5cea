"""The folder of a run: its name, whether it exists, and whether it can be resumed."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastgan_ray.errors import UserError
from fastgan_ray.files import write_atomically
from fastgan_ray.tune.storage.remote import RemoteStorage
from fastgan_ray.tune.storage.sync import RUN_ID, fetch_run

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
EXISTS = "already exists. Continue it with --resume, or choose another name with --name."


def folder_of(runs: Path, name: str) -> Path:
    """Return the folder of the experiment `name`; raise UserError if the name is not allowed.

    `runs` is the folder that contains the folders of all experiments.
    """
    if not NAME.fullmatch(name):
        raise UserError(
            "--name: must be letters, digits, '.', '_' and '-'. It must not start with '.' "
            f"(got {name!r})."
        )
    return (runs / name).expanduser().resolve()


def open_storage(uri: str, name: str, folder: Path, resume: bool) -> RemoteStorage:
    """Open the remote storage of a run; if `resume` is true, fetch the run from this storage.

    `folder` is the run's local folder. Raises UserError if the storage cannot be opened or written.
    If `resume` is false, also raises UserError if the storage already has a run with this name.
    """
    storage = RemoteStorage(uri, name)
    storage.check()
    if resume:
        fetch_run(storage, folder)
    elif storage.names():
        raise UserError(f"{storage}: {EXISTS}")
    return storage


def make_folder(
    folder: Path, kind: str, text: str, overrides: Mapping[str, Any], files: Mapping[str, str]
) -> None:
    """Create the folder of a new experiment; raise UserError if it exists or cannot be created.

    `kind` is "search" or "ablation". `text` is the content of the experiment's YAML file.
    `overrides` are settings from the command line that replace those of this file, as JSON values.
    `files` has the contents of further files by name.
    """
    try:
        if folder.exists():
            raise UserError(f"{folder}: {EXISTS}")
        folder.mkdir(parents=True)
        try:
            for name, content in {**files, RUN_ID: uuid.uuid4().hex}.items():
                write_atomically(folder / name, content)
            write_settings(folder, kind, text, overrides)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)  # the same command may be tried again
            raise
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}). With --runs, choose a "
            "folder that you may write."
        ) from error


def check_folder(
    folder: Path, kind: str, changes: Callable[[str, Mapping[str, Any]], Sequence[str]]
) -> None:
    """Check that a command may resume the experiment in `folder`.

    `kind` is "search" or "ablation". `changes` is a function. It takes the YAML text and the
    overrides with which the experiment was started. It returns a message for each setting that has
    changed but must not change. Raises UserError if there is such a setting, or if the folder has
    no experiment of this kind.
    """
    file = folder / f"{kind}.yaml"
    if not file.is_file():
        raise UserError(
            f"{folder}: there is no {kind} to resume. Leave --resume out to start a "
            f"new {kind}, or choose an existing {kind} with --name and --runs."
        )
    overrides = json.loads((folder / "overrides.json").read_text())
    if texts := changes(file.read_text(), overrides):
        raise UserError(
            f"{folder}: the {kind} was started with other settings: {'; '.join(texts)}. A resumed "
            f"{kind} may have more trials, time, seeds or resources. Change the other settings "
            "back, or start another run with --name."
        )


def write_settings(folder: Path, kind: str, text: str, overrides: Mapping[str, Any]) -> None:
    """Write the settings of an experiment to its folder; the arguments are as in `make_folder`."""
    write_atomically(folder / "overrides.json", json.dumps(overrides, indent=1))
    write_atomically(folder / f"{kind}.yaml", text)
