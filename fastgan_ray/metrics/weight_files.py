"""Find, download and verify weight files.

A file is used only if its sha256 is the published one.
"""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, TypedDict, TypeVar

import torch

from fastgan_ray.config.paths import cache_dir
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.cache import atomic_file, file_sha256
from fastgan_ray.data.download import DownloadError, download
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.weight_catalog import WEIGHTS, Weights
from fastgan_ray.progress import Track, silently

_TIMEOUT_SECONDS = 10

_Item = TypeVar("_Item")


class Row(TypedDict):
    """A row of the table that `fastgan-ray weights list` prints.

    `state` is "here" if the file is on this machine, "missing" if it is not, and "another file" if
    the cache has a file of this name with a different sha256. `path` is None if the file is
    missing.
    """

    name: str
    purpose: str
    filename: str
    size_bytes: int
    sha256: str
    url: str
    state: Literal["here", "missing", "another file"]
    path: str | None


def weights_path(name: str) -> Path:
    """Return the path of the weight file `name` (a key of WEIGHTS); download the file if necessary.

    The function looks for the file in `cache_dir()/weights`, then in the download folders of other
    libraries. If the file is in none of these folders, it is downloaded from its published URL, or
    from FASTGAN_RAY_WEIGHTS_URL if this environment variable is set. The sha256 of the file is
    verified. Raises UserError if the download fails, or if the cache has a different file of this
    name.
    """
    weights = WEIGHTS[name]
    return _find(weights) or _download(weights)


def needed_weights(config: RunConfig) -> list[str]:
    """List the weight files (keys of WEIGHTS) that a run with `config` needs."""
    settings = (
        f"eval.extractor: {config.eval.extractor}",
        f"train.reconstruction: {config.train.reconstruction}",
    )
    return [name for name, weights in WEIGHTS.items() if weights.setting in settings]


def require_weights(config: RunConfig) -> None:
    """Find or download every weight file that a run needs; call this before any expensive work.

    Raises one UserError, which lists all files that are not available.
    """
    _for_each(weights_path, needed_weights(config))


def weights_table(track: Track = silently) -> list[Row]:
    """Return a row for each file in WEIGHTS, and verify the sha256 of each file on this machine."""
    return [_row(name, weights) for name, weights in track([*WEIGHTS.items()], "checking weights")]


def fetch_weights(names: Sequence[str]) -> list[Path]:
    """Copy or download weight files into the cache; return their paths.

    `names` are keys of WEIGHTS; if it is empty, all files in WEIGHTS are fetched. A file that
    another library has already downloaded is copied. Raises one UserError, which lists all
    failures.
    """
    return _for_each(_fetch, list(dict.fromkeys(names)) or list(WEIGHTS))


def add_weights(files: Sequence[Path]) -> list[Path]:
    """Copy the weight files at the paths `files` into the cache; return the paths of the copies.

    A file is recognised by its sha256, so it may have any name. Raises one UserError, which lists
    all files that cannot be read and all files that are not in WEIGHTS.
    """
    return _for_each(_add, files)


def _for_each(action: Callable[[_Item], Path], items: Iterable[_Item]) -> list[Path]:
    """Return the results of `action` for `items`; raise one UserError that lists all failures."""
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
        path = _find(weights)
        state = "here" if path else "missing"
    except UserError:
        path, state = _cache_path(weights), "another file"
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
        similar = difflib.get_close_matches(name, WEIGHTS, n=1)
        hint = f"; did you mean {similar[0]}?" if similar else ""
        raise UserError(f"weights must be one of {', '.join(WEIGHTS)} (got {name}){hint}")
    weights = WEIGHTS[name]
    path = _find(weights)
    if path is None:
        return _download(weights)
    return path if path == _cache_path(weights) else _copy(path, _cache_path(weights))


def _add(file: Path) -> Path:
    try:
        sha256 = file_sha256(file)
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error})") from error
    for weights in WEIGHTS.values():
        if weights.sha256 == sha256:
            return _copy(file, _cache_path(weights))
    known = "".join(f"\n  {weights.sha256}  {weights.filename}" for weights in WEIGHTS.values())
    raise UserError(
        f"{file}: is not one of the known weight files, or is damaged. Its sha256 is {sha256}. "
        f"The known files are:{known}"
    )


def _copy(source: Path, target: Path) -> Path:
    with atomic_file(target) as partial:
        shutil.copyfile(source, partial)
    return target


def _cache_path(weights: Weights) -> Path:
    return cache_dir() / "weights" / weights.filename


def _find(weights: Weights) -> Path | None:
    """Return the path of a weight file with the right sha256 on this machine, or None.

    Raises UserError if the cache has a file of this name with another sha256.
    """
    cached = _cache_path(weights)
    if cached.is_file():
        if (sha256 := file_sha256(cached)) != weights.sha256:
            raise UserError(
                f"{cached}: must be the published file with sha256 {weights.sha256} (got "
                f"{sha256}). Remove it, or replace it with {_url(weights)}"
            )
        return cached
    # Other programs may write incomplete files to these folders, so skip wrong files.
    shared = (folder / weights.filename for folder in _shared_folders())
    return next((path for path in shared if _matches(weights, path)), None)


def _matches(weights: Weights, path: Path) -> bool:
    try:
        return path.is_file() and file_sha256(path) == weights.sha256
    except OSError:  # a file that only another user may read
        return False


def _shared_folders() -> list[Path]:
    """Return the download folders of clean-fid (the temporary folder), torch hub and CLIP."""
    clip = Path.home() / ".cache" / "clip"
    return [Path(tempfile.gettempdir()), Path(torch.hub.get_dir()) / "checkpoints", clip]


def _url(weights: Weights) -> str:
    folder = os.environ.get("FASTGAN_RAY_WEIGHTS_URL") or weights.url
    return f"{folder.rstrip('/')}/{weights.filename}"


def _download(weights: Weights) -> Path:
    target = _cache_path(weights)
    with atomic_file(target) as partial:
        try:
            download(_url(weights), partial, _TIMEOUT_SECONDS)
        except DownloadError as error:
            raise _missing(weights, f"could not be downloaded ({error})") from error
        if (sha256 := file_sha256(partial)) != weights.sha256:
            size = partial.stat().st_size
            reason = f"was downloaded with the wrong content: sha256 {sha256}, {size:,} bytes"
            raise _missing(weights, reason)
    return target


def _missing(weights: Weights, reason: str) -> UserError:
    return UserError(
        f"{weights.purpose} needs {weights.filename}, which {reason}.\n"
        f"  Download it from  {_url(weights)}\n"
        f"  and put it at  {_cache_path(weights)}\n"
        "  (or run  fastgan-ray weights add FILE).\n"
        f"  Its sha256 must be  {weights.sha256}\n"
        f"  {weights.instead}"
    )
