"""Write files and folders atomically: a path never has incomplete content.

No library does this for folders: `atomicwrites` is archived, and `boltons` writes only files.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

DRAFTS = ".*.draft"  # left behind by a process that died while it was writing
STALE_SECONDS = 24 * 3600
# The errors of `fsync` on network file systems that cannot flush folders.
CANNOT_FLUSH = (errno.EINVAL, errno.ENOTSUP)


@contextlib.contextmanager
def atomic(path: Path, shared: bool = False) -> Iterator[Path]:
    """Yield a path where the caller writes a draft file or folder; then rename it to `path`.

    The draft is flushed to disk before it is renamed. So `path` never has incomplete content, even
    if the machine crashes. A file is replaced in one step. A folder is replaced in two steps: after
    a crash between these steps, `path` is missing, but the old and the new folder exist next to it.
    If an exception occurs, the draft is removed. If `shared` is True, several processes may write
    `path` at the same time. Each process then has its own draft, and the last renamed draft
    remains.
    """
    if shared:
        _remove_stale_drafts(path.parent)
    owner = f".{uuid.uuid4().hex}" if shared else ""
    draft = path.with_name(f".{path.name}{owner}.draft")
    _remove(draft)  # a killed process may have left a draft
    try:
        yield draft
        _flush(draft)
        put_in_place(draft, path)
        _fsync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            _remove(draft)
        raise


def write_atomically(path: Path, text: str) -> None:
    """Write `text` to the file `path` atomically, in UTF-8; the folder of `path` must exist."""
    with atomic(path) as draft:
        draft.write_text(text, encoding="utf-8")


def linked_copy(source: Path, target: Path) -> None:
    """Replace `target` by a copy of the folder `source`; see `atomic`.

    Files are hard links instead of copies if the file system supports links.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic(target) as draft:
        link_tree(source, draft)


def link_tree(source: Path, target: Path) -> None:
    """Copy the folder `source` to `target`, which must not exist.

    Files are hard links instead of copies if the file system supports links.
    """
    shutil.copytree(source, target, copy_function=_link)


def put_in_place(draft: Path, path: Path) -> None:
    """Rename the file or folder `draft` to `path`, and replace any file or folder at `path`."""
    if not path.is_dir():
        draft.replace(path)
        return
    old = path.with_name(f".{path.name}.old.draft")
    _remove(old)
    path.rename(old)  # a folder cannot be replaced in one step unless it is empty
    draft.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_stale_drafts(folder: Path) -> None:
    for draft in folder.glob(DRAFTS):
        with contextlib.suppress(FileNotFoundError):  # another process has removed or renamed it
            if time.time() - draft.stat().st_mtime > STALE_SECONDS:
                _remove(draft)


def _flush(path: Path) -> None:
    """Flush a file, or a folder with all its content, to disk."""
    if path.is_dir():
        for child in path.iterdir():
            _flush(child)
    _fsync(path)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH:
            raise
    finally:
        os.close(handle)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
