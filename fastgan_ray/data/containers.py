"""Open a folder, archive, .npy file or LMDB; list its pictures and read their bytes."""

from __future__ import annotations

import itertools
import os
import re
import stat
import zipfile
from functools import partial
from pathlib import Path

from fastgan_ray.data import archives, arrays, databases
from fastgan_ray.data.kinds import ARRAY, HEAD_BYTES, is_picture, kind_of
from fastgan_ray.data.listing import (
    HIDDEN,
    HIDDEN_PICTURES,
    NOT_A_PICTURE,
    LeftOut,
    Listing,
    judge,
    visible,
)
from fastgan_ray.data.sizes import check_bytes
from fastgan_ray.errors import UserError

_NEEDED = (
    "data.path must be a folder of pictures, an archive of pictures (.zip, .tar), a .npy file or "
    "an LMDB folder"
)
_HIDDEN_FILES = 1000  # at most this many files of a hidden folder are checked
_ROW = re.compile(r"(.*)\[(\d+)\]", re.DOTALL)


def open_container(path: Path) -> Listing:
    """List the pictures of a folder, archive, .npy file or LMDB, and everything else in it.

    Pictures are recognised by their content, even without a suffix. A file with a picture's suffix
    but other content counts as a damaged picture. Raises UserError if `path` is not a folder,
    archive, .npy file or LMDB, if it is damaged, or if it cannot be read.
    """
    try:
        return _open_container(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def _open_container(path: Path) -> Listing:
    if path.exists() and not (path.is_dir() or path.is_file()):
        raise UserError(f"{_NEEDED}, but {path} is a special file")
    if path.is_dir():
        if (path / "data.mdb").is_file():
            return databases.open_lmdb(path)
        return _open_folder(path)
    kind = kind_of(head_of(path))
    if kind == ARRAY:
        return _open_array(path)
    if archives.is_tar(path):  # before zip: a tar may end with a zip
        return archives.open_tar(path)
    if zipfile.is_zipfile(path):
        return archives.open_zip(path)
    if kind == "ZIP" or path.suffix.lower() == ".zip":
        raise UserError(
            f"{path} is a damaged or incomplete zip archive. Download or pack it again."
        )
    raise UserError(
        f"{_NEEDED}, but {path} is a single file. Put the pictures into a folder (or unpack the "
        "archive) and use that folder."
    )


def _open_array(path: Path) -> Listing:
    try:
        count = arrays.count_rows(path)
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be used as pictures, because {error}") from error
    if count is None:
        raise UserError(f"{path} contains only one picture, but at least 2 are needed")
    return Listing(tuple(arrays.row_names(path.name, count)), partial(_read_file, path.parent))


def _open_folder(path: Path) -> Listing:
    files, left_out = _walk(path)
    names: list[str] = []
    for name in files:
        verdict = judge(name, partial(_read_head, path))
        if verdict is not None and verdict.reason == NOT_A_PICTURE and _is_array(path / name):
            try:
                names += arrays.row_names(name, arrays.count_rows(path / name))
                continue
            except (ValueError, OSError) as error:
                verdict = verdict._replace(reason=str(error))
        if verdict is None:
            names.append(name)
        else:
            left_out.append(verdict)
    return Listing(tuple(sorted(names)), partial(_read_file, path), tuple(left_out))


def _walk(path: Path) -> tuple[list[str], list[LeftOut]]:
    """Return all files below `path`, as sorted relative paths, and the folders that are left out.

    Links to folders are followed, but each real folder is visited only once. Hidden folders are
    left out. Links to a parent folder are left out, too, because a parent folder may have files
    that do not belong to the data set.
    """

    def raise_user_error(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot list this folder ({error.strerror})") from error

    names: list[str] = []
    left_out: list[LeftOut] = []
    root, visited = os.path.realpath(path), set[str]()
    for folder, subfolders, files in os.walk(path, onerror=raise_user_error, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:
            subfolders.clear()
            continue
        visited.add(real)
        relative = Path(folder).relative_to(path)
        for name in sorted(subfolders):
            target = os.path.realpath(os.path.join(folder, name))  # noqa: PTH118 - as `real`
            if not visible(name):
                reason = HIDDEN_PICTURES if _has_picture(Path(folder) / name) else HIDDEN
                kind = "hidden folder"
            elif _is_above(target, real) or _is_above(target, root):
                reason, kind = f"points to the parent folder {target}", "link"
            else:
                continue
            subfolders.remove(name)
            left_out.append(
                LeftOut((relative / name).as_posix(), kind, reason, quiet=reason == HIDDEN)
            )
        subfolders.sort()
        names += [(relative / name).as_posix() for name in files]
    return sorted(names), left_out


def _has_picture(folder: Path) -> bool:
    """Return whether a hidden folder or its subfolders contain a picture.

    After _HIDDEN_FILES files without a picture, the search stops.
    """
    files = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    return any(map(_is_picture_file, itertools.islice(files, _HIDDEN_FILES)))


def _is_picture_file(path: Path) -> bool:
    try:
        return is_picture(kind_of(_read_head(path.parent, path.name, HEAD_BYTES)))
    except (OSError, ValueError):
        return False


def _is_above(folder: str, other: str) -> bool:
    """Return whether `folder` is `other` or contains `other`.

    Symbolic links in both paths must have been resolved.
    """
    return Path(other).is_relative_to(folder)


def _is_array(path: Path) -> bool:
    return path.is_file() and kind_of(head_of(path)) == ARRAY


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file (at most HEAD_BYTES), for `kind_of`."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _read_head(folder: Path, name: str, count: int) -> bytes:
    """Return the first `count` bytes of a file.

    Raises ValueError for a pipe or a device, because reading from it could block.
    """
    path = folder / name
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a regular file")
    with path.open("rb") as file:
        return file.read(count)


def _read_file(folder: Path, name: str) -> bytes:
    path = folder / name
    if (row := _ROW.fullmatch(name)) and not path.exists():
        return arrays.read_row(folder / row[1], int(row[2]))
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    check_bytes(status.st_size)
    if _is_array(path):  # a single picture; its channels may be the first or the last axis
        return arrays.read_row(path, None)
    return path.read_bytes()
