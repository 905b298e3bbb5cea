"""Where files of weights are found, fetched from and checked.

A file of another content than the published one is never used.
"""

from __future__ import annotations

import difflib
import hashlib
import http.client
import os
import shutil
import tempfile
import urllib.error
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, TypedDict, TypeVar

import torch

from fastgan_ray.config.paths import cache_dir
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.cache import atomic_file
from fastgan_ray.data.download import fetch
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.weight_catalog import OF_EXTRACTOR, OF_RECONSTRUCTION, WEIGHTS, Weights
from fastgan_ray.progress import Track, silently

_TIMEOUT_SECONDS = 10

_Item = TypeVar("_Item")


class Row(TypedDict):
    """A line of `fastgan-ray weights list`; `path` is where the file is, None where missing."""

    name: str
    purpose: str
    filename: str
    size_bytes: int
    sha256: str
    url: str
    state: Literal["here", "missing", "another file"]
    path: str | None


def weights_path(name: str) -> Path:
    """The checked file of the weights `name` (a key of WEIGHTS), downloaded on first use.

    Looked for in `cache_dir()/weights`, then where the libraries that use it keep theirs, then at
    the publisher's address (FASTGAN_RAY_WEIGHTS_URL replaces its folder). UserError where none
    of them has it, or where the cache holds a file of another content.
    """
    weights = WEIGHTS[name]
    return _found(weights) or _download(weights)


def require_weights(config: RunConfig) -> None:
    """Make sure that every weight file a run needs is at hand, before anything expensive.

    One UserError for all that are missing.
    """
    reconstruction = OF_RECONSTRUCTION[config.train.reconstruction]
    _each(weights_path, [*OF_EXTRACTOR[config.eval.extractor], *reconstruction])


def weights_table(track: Track = silently) -> list[Row]:
    """Every published file, and whether it is here; reads each that is here, to check it."""
    return [_row(name, weights) for name, weights in track([*WEIGHTS.items()], "checking weights")]


def fetch_weights(names: Sequence[str]) -> list[Path]:
    """Put published files (keys of WEIGHTS; all where none is named) into the cache.

    From where libraries keep them, else from the publisher. One UserError for all that failed.
    """
    return _each(_fetch, list(dict.fromkeys(names)) or list(WEIGHTS))


def add_weights(files: Sequence[Path]) -> list[Path]:
    """Copy published files, known by their content and not their names, into the cache.

    One UserError for all that cannot be read or are none of WEIGHTS.
    """
    return _each(_add, files)


def file_sha256(path: Path) -> str:
    """The sha256 of a file's content in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _each(action: Callable[[_Item], Path], items: Iterable[_Item]) -> list[Path]:
    """The action's results for all items; one UserError for all items that raise one."""
    paths, problems = [], []
    for item in items:
        try:
            paths.append(action(item))
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return paths


def _row(name: str, weights: Weights) -> Row:
    state: Literal["here", "missing", "another file"]
    try:
        path = _found(weights)
        state = "here" if path else "missing"
    except UserError:
        path, state = _cached(weights), "another file"
    return Row(
        name=name,
        purpose=weights.purpose,
        filename=weights.filename,
        size_bytes=weights.size_bytes,
        sha256=weights.sha256,
        url=_url(weights),
        state=state,
        path=str(path) if path else None,
    )


def _fetch(name: str) -> Path:
    if name not in WEIGHTS:
        near = difflib.get_close_matches(name, WEIGHTS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"weights must be one of {', '.join(WEIGHTS)} (got {name}){hint}")
    weights = WEIGHTS[name]
    path = _found(weights)
    if path is None:
        return _download(weights)
    return path if path == _cached(weights) else _copy(path, _cached(weights))


def _add(file: Path) -> Path:
    try:
        sha256 = file_sha256(file)
    except OSError as error:
        raise UserError(f"{file}: must be a file that can be read ({error})") from error
    for weights in WEIGHTS.values():
        if weights.sha256 == sha256:
            return _copy(file, _cached(weights))
    known = "".join(f"\n  {weights.sha256}  {weights.filename}" for weights in WEIGHTS.values())
    raise UserError(f"{file}: must be a published file (got sha256 {sha256}). Known are{known}")


def _copy(source: Path, target: Path) -> Path:
    with atomic_file(target) as partial:
        shutil.copyfile(source, partial)
    return target


def _cached(weights: Weights) -> Path:
    return cache_dir() / "weights" / weights.filename


def _found(weights: Weights) -> Path | None:
    """The checked file on this machine; UserError for another file in its place in the cache."""
    own = _cached(weights)
    if own.is_file():
        if (found := file_sha256(own)) != weights.sha256:
            raise UserError(
                f"{own}: must be the published file with sha256 {weights.sha256} (got {found}). "
                f"Remove it, or replace it by {_url(weights)}"
            )
        return own
    # Others write here, not always atomically: what does not match is not theirs to answer for.
    shared = (folder / weights.filename for folder in _shared_folders())
    return next((path for path in shared if _is(weights, path)), None)


def _is(weights: Weights, path: Path) -> bool:
    try:
        return path.is_file() and file_sha256(path) == weights.sha256
    except OSError:  # another user's
        return False


def _shared_folders() -> list[Path]:
    """Where clean-fid (the system's temporary folder), torch hub and OpenAI's CLIP put theirs."""
    clip = Path.home() / ".cache" / "clip"
    return [Path(tempfile.gettempdir()), Path(torch.hub.get_dir()) / "checkpoints", clip]


def _url(weights: Weights) -> str:
    base = os.environ.get("FASTGAN_RAY_WEIGHTS_URL") or weights.url
    return f"{base.rstrip('/')}/{weights.filename}"


def _download(weights: Weights) -> Path:
    target = _cached(weights)
    url = _url(weights)
    with atomic_file(target) as partial:
        try:
            fetch(url, partial, _TIMEOUT_SECONDS)
        except (OSError, ValueError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            raise _missing(weights, target, f"could not be downloaded ({error})") from error
        if (found := file_sha256(partial)) != weights.sha256:
            size = partial.stat().st_size
            reason = f"has another content there: sha256 {found}, {size:,} bytes"
            raise _missing(weights, target, reason)
    return target


def _missing(weights: Weights, target: Path, reason: str) -> UserError:
    return UserError(
        f"{weights.purpose} needs {weights.filename}, which {reason}.\n"
        f"  Get it from  {_url(weights)}\n"
        f"  and put it at  {target}\n"
        "  (or give it to  fastgan-ray weights add FILE),\n"
        f"  sha256  {weights.sha256},\n"
        f"  {weights.instead}"
    )
