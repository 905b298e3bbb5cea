"""Read pictures from a zip or tar archive, directly or through one unpacked tar file."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

from fastgan_ray.config.paths import cache_dir
from fastgan_ray.data.cache import atomic_file, file_sha256
from fastgan_ray.data.kinds import HEAD_BYTES, kind_of, suffix_of
from fastgan_ray.data.listing import LeftOut, Listing, require_inside, separate
from fastgan_ray.data.sizes import check_bytes
from fastgan_ray.errors import UserError

_REPEATED = "a later entry has the same name"
_BLOCK = 2**20
# A compressed tar archive is refused if it unpacks to more than this many times its size. A size
# below _BLOCK bytes counts as _BLOCK bytes.
_MAX_RATIO = 100
_TAR_ERRORS = (tarfile.TarError, OSError, EOFError, ValueError, lzma.LZMAError, zlib.error)
_UNPACKERS: dict[str, Callable[[Path], BufferedIOBase]] = {
    "GZIP": gzip.GzipFile,
    "BZIP2": bz2.BZ2File,
    "XZ": lzma.LZMAFile,
}


def open_zip(path: Path) -> Listing:
    """List the pictures and the other entries of a zip archive.

    Raises UserError if the archive is damaged, or if the name of an entry leads out of the archive
    ("../a.png").
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"{path}: cannot read this zip archive ({error}). Pack it again."
        ) from error
    require_inside(path, "zip", entries)
    names, left_out = separate(set(entries), partial(_zip_head, path))
    return Listing(names, partial(_read_zip, path), (*left_out, *_repeated(entries)))


def _repeated(entries: Iterable[str]) -> list[LeftOut]:
    """List the entries that are not read because a later entry has the same name."""
    return [
        LeftOut(name, suffix_of(name), _REPEATED)
        for name, count in sorted(Counter(entries).items())
        for _ in range(count - 1)
    ]


def _zip_head(path: Path, name: str, count: int) -> bytes:
    with _zip_now(path).open(name) as entry:
        return entry.read(count)


def _read_zip(path: Path, name: str) -> bytes:
    archive = _zip_now(path)
    # zipfile reads at most the declared size. If the file is longer, its checksum fails.
    check_bytes(archive.getinfo(name).file_size)
    return archive.read(name)


def _zip_now(path: Path) -> zipfile.ZipFile:
    status = path.stat()
    return _open_zip(path, os.getpid(), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _open_zip(path: Path, pid: int, mtime_ns: int, size: int) -> zipfile.ZipFile:
    """Open a zip archive and keep it open for the next call with the same arguments.

    Opening an archive reads its list of entries. This list can be long, so opening the archive for
    each picture would be slow. `pid` is the process id. `mtime_ns` is the archive's modification
    time in nanoseconds, and `size` is its size in bytes. If one of the arguments changes, the
    archive is opened again.
    """
    return zipfile.ZipFile(path)


class _Member(NamedTuple):
    offset: int
    size: int


def is_tar(path: Path) -> bool:
    """Return whether a file is a tar archive, compressed or not.

    Raises UserError if the file is damaged.
    """
    try:
        return tarfile.is_tarfile(path)
    except _TAR_ERRORS as error:
        raise _damaged(path, error) from error


def open_tar(path: Path) -> Listing:
    """List the pictures and the other entries of a tar archive.

    A compressed archive is unpacked once, into one tar file in the cache. Raises UserError if the
    archive is damaged, if the name of an entry leads out of the archive ("../a.png"), or if the
    unpacked tar file is much larger than the archive (see _MAX_RATIO).
    """
    try:
        plain = _plain_tar(path)
        with tarfile.open(plain, "r:") as archive:
            entries = [(entry, entry.name.removeprefix("./")) for entry in archive]
    except _TAR_ERRORS as error:
        raise _damaged(path, error) from error
    require_inside(path, "tar", [name for _, name in entries])
    files = [(entry, name) for entry, name in entries if _is_file(entry)]
    members = {name: _Member(entry.offset_data, entry.size) for entry, name in files}
    others = [
        LeftOut(name, "link" if entry.issym() or entry.islnk() else "special entry", "not a file")
        for entry, name in entries
        if not entry.isdir() and not _is_file(entry)
    ]
    names, left_out = separate(members, partial(_tar_head, plain, members))
    repeated = _repeated(name for _, name in files)
    return Listing(names, partial(_read_tar, plain, members), (*left_out, *repeated, *others))


def _is_file(entry: tarfile.TarInfo) -> bool:
    return entry.isreg() and not entry.issparse()


def _read_tar(plain: Path, members: Mapping[str, _Member], name: str) -> bytes:
    check_bytes(members[name].size)
    return _tar_head(plain, members, name, members[name].size)


def _tar_head(plain: Path, members: Mapping[str, _Member], name: str, count: int) -> bytes:
    offset, size = members[name]
    with plain.open("rb") as file:
        file.seek(offset)
        return file.read(min(count, size))


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: cannot read this tar archive ({error}). Pack it again.")


def _plain_tar(path: Path) -> Path:
    """Return the path of an uncompressed tar: `path` itself, or an unpacked copy in the cache."""
    with path.open("rb") as file:
        kind = kind_of(file.read(HEAD_BYTES))
    if kind not in _UNPACKERS:
        return path
    plain = cache_dir() / "archives" / f"{file_sha256(path)}.tar"
    if not plain.is_file():
        most = _MAX_RATIO * max(path.stat().st_size, _BLOCK)
        with atomic_file(plain) as draft, _UNPACKERS[kind](path) as packed, draft.open("wb") as to:
            while block := _read_block(packed):
                to.write(block)
                if to.tell() > most:
                    raise UserError(
                        f"{path}: its unpacked content is more than {_MAX_RATIO} times "
                        "as large as the archive, which is impossible with pictures. Do "
                        "not trust this archive. Use a folder of pictures instead."
                    )
    return plain


def _read_block(packed: BufferedIOBase) -> bytes:
    """Return the next unpacked bytes, up to _BLOCK bytes; raise TarError if the data is damaged."""
    try:
        return packed.read(_BLOCK)
    except _TAR_ERRORS as error:
        raise tarfile.ReadError(str(error)) from error
