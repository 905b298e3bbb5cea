"""Create the folder and the remote storage of an experiment, or check them before a resume."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastgan_ray.config.run_config import flatten
from fastgan_ray.errors import UserError
from fastgan_ray.files import write_atomically
from fastgan_ray.tune.storage.remote import RemoteStorage
from fastgan_ray.tune.storage.sync import fetch_run

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
EXISTS = "already exists. Continue it with --resume, or choose another name with --name."


def folder_of(runs: Path, name: str) -> Path:
    """Return the folder of the experiment `name`; raise UserError for a forbidden name."""
    if not NAME.fullmatch(name):
        raise UserError(
            "--name: must be letters, digits, '.', '_' and '-', and not start with '.' "
            f"(got {name!r})"
        )
    return (runs / name).expanduser().resolve()


def open_storage(uri: str, name: str, folder: Path, resume: bool) -> RemoteStorage:
    """Open the remote storage of a run; with `resume`, fetch the run from it.

    Raises UserError if the storage cannot be written. Without `resume`, raises UserError if the
    storage already has a run of that name.
    """
    storage = RemoteStorage(uri, name)
    storage.check()
    if resume:
        fetch_run(storage, folder)
    elif storage.names():
        raise UserError(f"{storage}: {EXISTS}")
    return storage


def open_folder(
    folder: Path, kind: str, text: str, overrides: Mapping[str, Any], resume: bool
) -> None:
    """Make the folder of a new experiment; with `resume`, check that it holds this experiment.

    `text` is the content of the experiment's file. `overrides` are the options of the command that
    change the file's settings; JSON can store them. Raises UserError if the folder exists or cannot
    be made; with `resume`, if it does not exist or holds another experiment.
    """
    if resume:
        _check_folder(folder, kind, text, overrides)
        return
    if folder.exists():
        raise UserError(f"{folder}: {EXISTS}")
    try:
        folder.mkdir(parents=True)
        write_atomically(folder / "overrides.json", json.dumps(overrides, indent=1))
        write_atomically(folder / f"{kind}.yaml", text)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}). Choose a folder of yours with --runs."
        ) from error


def _check_folder(folder: Path, kind: str, text: str, overrides: Mapping[str, Any]) -> None:
    file = folder / f"{kind}.yaml"
    if not file.is_file():
        raise UserError(
            f"{folder}: there is no {kind} to resume. Leave --resume out to start one, "
            "or name it with --name and --runs."
        )
    if file.read_text() != text:
        raise UserError(
            f"{file}: this is a copy of the file with which the run was started, and the {kind} "
            "file of this command differs from it. Undo the changes in your file, or start another "
            "run with --name."
        )
    before = json.loads((folder / "overrides.json").read_text())
    if changes := _changes(before, json.loads(json.dumps(overrides))):
        raise UserError(
            f"{folder}: the options differ from those that it was started with: "
            f"{'; '.join(changes)}. Use the original ones, or start another run with --name."
        )


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differences between the options of two commands, one text for each option."""
    old, new = flatten(dict(before)), flatten(dict(now))
    return [
        f"{key} {_value(old, key)} then, {_value(new, key)} now"
        for key in sorted(old.keys() | new.keys())
        if key not in old or key not in new or old[key] != new[key]
    ]


def _value(options: Mapping[str, Any], key: str) -> str:
    return json.dumps(options[key]) if key in options else "not set"
