"""Read pictures from an LMDB."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import lmdb

from fastgan_ray.data.kinds import HEAD_BYTES, SUFFIXES, is_picture, kind_of, suffix_of
from fastgan_ray.data.listing import NOT_A_PICTURE, LeftOut, Listing, judge
from fastgan_ray.data.sizes import check_bytes
from fastgan_ray.errors import UserError

# A process can open a path only once at a time with py-lmdb, so other reads wait for this lock.
_lmdb_lock = threading.Lock()
_SIZED = re.compile(r"(\d+)-\d+")
_COUNTS = ("length", "num-samples")
_OWN_FILES = ("data.mdb", "lock.mdb")


def open_lmdb(path: Path) -> Listing:
    """List the pictures of an LMDB, and the other keys and files.

    `_pictures` says which values count as pictures. If the keys of all pictures have the form
    `<resolution>-<index>`, only the largest complete resolution is used (see `_largest_complete`).
    Raises UserError if the LMDB is damaged, or has fewer pictures than it states (see
    `_stated_count`).
    """
    try:
        with _lmdb_lock, _open(path) as env, env.begin(buffers=True) as transaction:
            heads = {
                bytes(key).decode("utf-8", "surrogateescape"): bytes(value[:HEAD_BYTES])
                for key, value in transaction.cursor()
            }
            stated = _stated_count(transaction)
    except lmdb.Error as error:
        raise UserError(f"{path}: cannot read this LMDB ({error}). Create it again.") from error
    names, left_out = _pictures(heads)
    names, smaller, note = _largest_complete(path, names, stated)
    beside = [
        LeftOut(file.name, suffix_of(file.name), "not part of the LMDB")
        for file in sorted(path.iterdir())
        if file.name not in _OWN_FILES
    ]
    read = partial(_read, path)
    return Listing(tuple(names), read, (*left_out, *smaller, *beside), (note,) if note else ())


def _pictures(heads: Mapping[str, bytes]) -> tuple[list[str], list[LeftOut]]:
    """Return the sorted keys of pictures, and the other keys.

    `heads` has the first bytes of the value of each key; they show whether the value is a picture.
    Keys that differ only in digits form a group. If a group has at least one picture, all values of
    the group count as pictures: those that are not recognised are damaged pictures.
    """
    by_pattern = defaultdict(list)
    for name in sorted(heads):
        by_pattern[re.sub(r"\d+", "*", name)].append(name)
    names: list[str] = []
    left_out: list[LeftOut] = []
    for pattern, similar in by_pattern.items():
        if any(is_picture(kind_of(heads[name])) for name in similar):
            verdicts = {name: _unreadable(name, heads[name]) for name in similar}
        else:
            verdicts = {name: _not_a_picture(name, pattern) for name in similar}
        names += [name for name, verdict in verdicts.items() if verdict is None]
        left_out += [verdict for verdict in verdicts.values() if verdict is not None]
    return sorted(names), left_out


def _unreadable(name: str, head: bytes) -> LeftOut | None:
    """Return a LeftOut if the value is a picture that this installation cannot read, else None.

    `head` has the first bytes of the value.
    """
    verdict = judge(name, lambda name, count: head)
    is_known = verdict is not None and is_picture(kind_of(head))
    return verdict if is_known else None


def _not_a_picture(name: str, pattern: str) -> LeftOut | None:
    """Return a LeftOut for a key whose value is not a picture, or None if the value is damaged.

    The value is a damaged picture if the key `name` has a picture's suffix. `pattern` is the
    key with "*" for each number.
    """
    if suffix_of(name) in SUFFIXES:
        return None
    return LeftOut(name, pattern, NOT_A_PICTURE, quiet=name == _COUNTS[0])


def _stated_count(transaction: lmdb.Transaction) -> int | None:
    """Return the number of pictures that the LMDB stores under a key in _COUNTS, or None."""
    for key in _COUNTS:
        value = transaction.get(key.encode())
        if value is not None and bytes(value).isdigit():
            return int(value)
    return None


def _largest_complete(
    path: Path, names: Sequence[str], stated: int | None
) -> tuple[list[str], list[LeftOut], str]:
    """Choose the largest complete resolution of an LMDB with keys such as "256-00001".

    Such an LMDB has each picture at several resolutions. A resolution is complete if it has at
    least `stated` pictures. If `stated` is None, the largest number of pictures at one resolution
    is used instead. Returns the chosen keys, the other keys, and a note. The note tells the user
    that a larger resolution is incomplete; otherwise it is "". If a key has another form, all keys
    are chosen. Raises UserError if no resolution is complete.
    """
    by_size = defaultdict(list)
    for name in names:
        if match := _SIZED.fullmatch(name):
            by_size[int(match[1])].append(name)
    if sum(map(len, by_size.values())) < len(names):  # keys of another form
        by_size.clear()
    counts = {size: len(keys) for size, keys in by_size.items()} or {0: len(names)}
    needed = max(counts.values()) if stated is None else stated
    complete = [size for size, count in counts.items() if count >= needed]
    if not complete:
        found = ", ".join(f"{n} of {size} px" if size else f"{n}" for size, n in counts.items())
        raise UserError(
            f"{path}: this LMDB is incomplete. It states that it has {needed} pictures, but has "
            f"{found}. Create it again."
        )
    if not by_size:
        return list(names), [], ""
    chosen = max(complete)
    others = [
        LeftOut(name, f"{size}-*", f"the pictures at {chosen} px are used", quiet=True)
        for size, keys in sorted(by_size.items())
        for name in keys
        if size != chosen
    ]
    larger = [f"{counts[size]} at {size} px" for size in sorted(counts) if size > chosen]
    note = (
        f"the LMDB is incomplete: it has {counts[chosen]} pictures at {chosen} px, but only "
        f"{' and '.join(larger)}. The pictures at {chosen} px are used; to use larger pictures, "
        "create the LMDB again"
        if larger
        else ""
    )
    return by_size[chosen], others, note


def _read(path: Path, name: str) -> bytes:
    key = name.encode("utf-8", "surrogateescape")
    with _lmdb_lock, _open(path) as env, env.begin() as transaction:
        value = transaction.get(key)
    if value is None:
        raise ValueError("the key no longer exists")
    check_bytes(len(value))
    return bytes(value)


def _open(path: Path) -> lmdb.Environment:
    return lmdb.open(str(path), readonly=True, lock=False, readahead=False, create=False)
