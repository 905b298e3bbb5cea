"""Open a folder, zip or LMDB; list the names of its pictures and read their bytes."""

from __future__ import annotations

import os
import re
import stat
import threading
import zipfile
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import lmdb

from fastgan_ray.errors import UserError

Read = Callable[[str], bytes]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
MAX_BYTES = 256 * 2**20
_NEEDED = "data.path must be a folder of pictures, a .zip of pictures or an LMDB folder"
# py-lmdb does not allow two open environments on one path in a process: this lock makes reads wait.
_lmdb_lock = threading.Lock()


def open_container(path: Path) -> tuple[tuple[str, ...], Read]:
    """Return the sorted names of all pictures, and a function that reads a picture by its name.

    A file is a picture if its suffix says so; in an LMDB, every key is a picture. Hidden files and
    `__MACOSX` are ignored. Names are returned as stored; use `printable` to show a name. The
    returned function may raise any error for a damaged file or archive. Several threads may call
    it, and it can be pickled. Raises UserError if `path` is not a folder, zip or LMDB, or is
    damaged.
    """
    if path.is_dir():
        if (path / "data.mdb").is_file():
            return _lmdb_names(path), partial(_read_lmdb, path)
        return _folder_names(path), partial(_read_file, path)
    if zipfile.is_zipfile(path):
        return _zip_names(path), partial(_read_zip, path)
    if path.suffix.lower() == ".zip":
        raise UserError(
            f"{path} is a damaged or incomplete zip archive. Download or pack it again."
        )
    raise UserError(
        f"{_NEEDED}, but {path} is a single file. Put the pictures into a folder (or unpack the "
        "archive) and use that folder."
    )


def printable(name: str) -> str:
    """Escape undecodable bytes and control characters, so that any terminal can print a name."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _folder_names(path: Path) -> tuple[str, ...]:
    """List relative paths; follow links, but visit each real folder only once to avoid loops."""

    def raise_user_error(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot list this folder ({error.strerror})") from error

    names, visited = [], set()
    for folder, subfolders, files in os.walk(path, onerror=raise_user_error, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:
            subfolders.clear()
            continue
        visited.add(real)
        subfolders.sort()
        relative = Path(folder).relative_to(path)
        subfolders[:] = [name for name in subfolders if _visible(name)]
        names += [(relative / name).as_posix() for name in files if _is_picture(name)]
    return tuple(sorted(names))


def _read_file(folder: Path, name: str) -> bytes:
    path = folder / name
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    _check_bytes(status.st_size)
    return path.read_bytes()


def _zip_names(path: Path) -> tuple[str, ...]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"{path}: cannot read this zip archive ({error}). Pack it again."
        ) from error
    if escaping := [name for name in entries if _escapes(name)]:
        raise UserError(
            f"{path}: names of zip entries must not lead out of the archive, but "
            f"{printable(escaping[0])!r} does ({len(escaping)} such entries). Do not trust this "
            "archive; make one from a folder."
        )
    pictures = {name for name in entries if all(map(_visible, _parts(name))) and _is_picture(name)}
    return tuple(sorted(pictures))


def _read_zip(path: Path, name: str) -> bytes:
    status = path.stat()
    archive = _open_zip(path, os.getpid(), status.st_mtime_ns, status.st_size)
    # zipfile reads at most the declared size. If the file is longer, its checksum fails.
    _check_bytes(archive.getinfo(name).file_size)
    return archive.read(name)


@lru_cache(maxsize=4)
def _open_zip(path: Path, pid: int, mtime_ns: int, size: int) -> zipfile.ZipFile:
    """Open an archive and keep it open for this process and file version.

    Opening it again for each picture would be slow, because its directory can be long.
    """
    return zipfile.ZipFile(path)


def _lmdb_names(path: Path) -> tuple[str, ...]:
    try:
        with _lmdb_lock, _open_lmdb(path) as env, env.begin() as transaction:
            keys = sorted(bytes(key) for key in transaction.cursor().iternext(values=False))
    except lmdb.Error as error:
        raise UserError(f"{path}: cannot read this LMDB ({error}). Create it again.") from error
    names = [key.decode("utf-8", "surrogateescape") for key in keys if key != b"length"]
    sizes = {match[1] for match in map(re.compile(r"(\d+)-\d+").fullmatch, names) if match}
    if len(sizes) < 2:
        return tuple(names)
    # Keys `<resolution>-<index>` store each picture at several resolutions: use the largest.
    largest = max(sizes, key=int)
    return tuple(name for name in names if name.startswith(f"{largest}-"))


def _read_lmdb(path: Path, name: str) -> bytes:
    key = name.encode("utf-8", "surrogateescape")
    with _lmdb_lock, _open_lmdb(path) as env, env.begin() as transaction:
        value = transaction.get(key)
    if value is None:
        raise ValueError("the key no longer exists")
    _check_bytes(len(value))
    return bytes(value)


def _open_lmdb(path: Path) -> lmdb.Environment:
    return lmdb.open(str(path), readonly=True, lock=False, readahead=False, create=False)


def _check_bytes(size: int) -> None:
    if size > MAX_BYTES:
        raise ValueError(f"{size:,} bytes is more than {MAX_BYTES:,}: shrink it first")


def _is_picture(name: str) -> bool:
    base = _parts(name)[-1]
    return _visible(base) and Path(base).suffix.lower() in SUFFIXES


def _visible(part: str) -> bool:
    return not part.startswith(".") and part != "__MACOSX"


def _escapes(name: str) -> bool:
    return (
        ".." in _parts(name) or name[:1] in ("/", "\\") or re.match(r"[A-Za-z]:", name) is not None
    )


def _parts(name: str) -> list[str]:
    return re.split(r"[/\\]", name)
