"""The folder of an experiment, and its store: begun, or found as they were left."""

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


def folder_of(runs: Path, name: str) -> Path:
    """Where the experiment of that name has its files; UserError if it is no name of a folder."""
    if not NAME.fullmatch(name):
        raise UserError(
            "--name: must be letters, digits, '.', '_' and '-', and not start with '.' "
            f"(got {name!r})"
        )
    return (runs / name).expanduser().resolve()


def open_store(uri: str, name: str, folder: Path, resume: bool) -> RemoteStorage:
    """The store of a run, from which a run to be resumed is fetched; UserError if it cannot be
    written, or has another run of that name."""
    store = RemoteStorage(uri, name)
    store.check()
    if resume:
        fetch_run(store, folder)
    elif store.names():
        raise UserError(
            f"{store}: is there already. Go on with it by --resume, or choose another name by "
            "--name."
        )
    return store


def open_folder(
    folder: Path, kind: str, text: str, choices: Mapping[str, Any], resume: bool
) -> None:
    """Make the folder of a new experiment, or check that it holds the one to be resumed.

    `text` is that of its file, `choices` what the command adds to it (JSON-able). UserError if
    there is one already, or cannot be one; with `resume`, if there is none, or another.
    """
    file, given = f"{kind}.yaml", json.dumps(choices, indent=1)
    if not resume:
        if folder.exists():
            raise UserError(
                f"{folder}: is there already. Go on with it by --resume, or choose another name by "
                "--name."
            )
        try:
            folder.mkdir(parents=True)
            write_atomically(folder / "overrides.json", given)
            write_atomically(folder / file, text)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be written ({error.strerror}). Choose a folder of yours with "
                "--runs."
            ) from error
        return
    if not (folder / file).is_file():
        raise UserError(
            f"{folder}: there is no {kind} to resume. Leave --resume out to begin one, "
            "or name it with --name and --runs."
        )
    if (folder / file).read_text() != text:
        raise UserError(
            f"{folder / file}: differs from what is to be resumed. It goes on as it began: restore "
            "the file, or begin another one with --name."
        )
    before = json.loads((folder / "overrides.json").read_text())
    if before != json.loads(given):
        raise UserError(
            f"{folder}: it began with other options than it is to be resumed with: "
            f"{'; '.join(_changes(before, json.loads(given)))}. Give those it began with, or "
            "begin another one with --name."
        )


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """How the options of two commands differ, by dotted name."""
    then, given = (
        {key: value for key, value in flatten(choices).items() if value != {}}
        for choices in (before, now)
    )
    return [
        f"{key} {json.dumps(then[key]) if key in then else 'not given'} then, "
        f"{json.dumps(given[key]) if key in given else 'not given'} now"
        for key in sorted(then.keys() | given.keys())
        if key not in then or key not in given or then[key] != given[key]
    ]
