"""Write files and folders atomically: they appear completely or not at all.

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
    """Yield the path of a draft file or folder next to `path`; rename it to `path` at the end.

    The draft is completely on disk before it is renamed. So after a crash, even of the machine,
    `path` has either the old content or the new content. An exception removes the draft. With
    `shared`, several processes may write this path at the same time: each process has its own
    draft, and the last one wins.
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
    """Replace the content of a text file; its folder must exist."""
    with atomic(path) as draft:
        draft.write_text(text, encoding="utf-8")


def linked_copy(source: Path, target: Path) -> None:
    """Replace `target` by a copy of the folder `source`, with hard links to files if possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic(target) as draft:
        link_tree(source, draft)


def link_tree(source: Path, target: Path) -> None:
    """Copy a folder to `target`, which must not exist; the files are hard links if possible."""
    shutil.copytree(source, target, copy_function=_link)


def put_in_place(draft: Path, path: Path) -> None:
    """Rename a file or a folder to `path`; replace any file or folder with this name."""
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
    """Wait until a file, or a folder with all its content, is completely on disk."""
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
