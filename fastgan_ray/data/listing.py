"""Decide which entries of a folder or an archive are pictures, and say why others are not read."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fastgan_ray.counting import counted
from fastgan_ray.data.kinds import (
    ARCHIVES,
    HEAD_BYTES,
    SUFFIXES,
    is_picture,
    is_raw,
    kind_of,
    missing_decoder,
    suffix_of,
)
from fastgan_ray.errors import UserError

Read = Callable[[str], bytes]
ReadHead = Callable[[str, int], bytes]

NOT_A_PICTURE, HIDDEN = "not a picture", "hidden"
_NAMED = 3  # how many names a sentence lists
HIDDEN_PICTURES = "contains pictures; rename the folder to use them"
ARCHIVE_INSIDE = "an archive within the data; unpack it to use it"
RAW_FILE = "a camera's raw file; save it as JPEG, PNG or TIFF to use it"


class LeftOut(NamedTuple):
    """A file, or an entry of an archive, that is not read as a picture."""

    name: str
    kind: str
    """The suffix in lower case, e.g. ".txt"; words, e.g. "link"; or a pattern, e.g. "256-*", for
    keys of an LMDB."""
    reason: str
    quiet: bool = False
    """True if messages do not mention the file, e.g. a hidden file that is not a picture."""


class Listing(NamedTuple):
    """The pictures of a folder, archive or LMDB, and everything else in it."""

    names: tuple[str, ...]
    """The names as stored, sorted; use `printable` to show a name."""
    read: Read
    """Reads a picture by its name; it may raise any error for a damaged file or archive.

    Several threads may call it, and it can be pickled.
    """
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences that the user must read."""


def judge(name: str, read_head: ReadHead) -> LeftOut | None:
    """Return None if an entry is a picture, else a LeftOut with the reason.

    `read_head` returns the first bytes of an entry, which show whether it is a picture. A file with
    a picture's suffix but unknown content counts as a picture. So a damaged picture is reported as
    an error and is not ignored.
    """
    suffix, hidden = suffix_of(name), not all(map(visible, parts(name)))
    try:
        kind = kind_of(read_head(name, HEAD_BYTES))
    except Exception as error:  # each container raises errors of its own
        if suffix in SUFFIXES and not hidden:
            return None
        reason = HIDDEN if hidden else f"cannot be read: {error or type(error).__name__}"
        return LeftOut(name, suffix, reason, quiet=hidden)
    if hidden:
        return LeftOut(name, suffix, HIDDEN, quiet=not is_picture(kind))
    if is_raw(kind, suffix):
        return LeftOut(name, suffix, RAW_FILE)
    if is_picture(kind):
        mend = missing_decoder(kind)
        return LeftOut(name, suffix, mend) if mend else None
    if suffix in SUFFIXES:
        return None
    return LeftOut(name, suffix, ARCHIVE_INSIDE if kind in ARCHIVES else NOT_A_PICTURE)


def separate(
    names: Iterable[str], read_head: ReadHead
) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
    """Divide entries by `judge`; return the sorted names of the pictures, and the other entries."""
    verdicts = [(name, judge(name, read_head)) for name in sorted(names)]
    pictures = tuple(name for name, verdict in verdicts if verdict is None)
    return pictures, tuple(verdict for _, verdict in verdicts if verdict is not None)


def require_inside(path: Path, kind: str, names: Sequence[str]) -> None:
    """Raise UserError if the name of an archive's entry leads out of the archive ("../a.png")."""
    if escaping := [name for name in names if _escapes(name)]:
        raise UserError(
            f"{path}: names of {kind} entries must not lead out of the archive, but "
            f"{printable(escaping[0])!r} does (in total: {counted(len(escaping), 'such name')}). "
            "Do not trust this archive. Use a folder of pictures instead."
        )


def describe_left_out(left_out: Sequence[LeftOut]) -> str:
    """Return a line that says how many files of each kind were not read.

    Example: "3 files were not read: 1 .cr2 and 1 .dng (a camera's raw file; ...), 1 .txt". Entries
    with `LeftOut.quiet` are not counted. The result is "" if no entry is counted.
    """
    mentioned = [entry for entry in left_out if not entry.quiet]
    if not mentioned:
        return ""
    kinds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry in mentioned:
        kinds[entry.reason][entry.kind] += 1
    without_reason = kinds.pop(NOT_A_PICTURE, Counter())
    described = [
        f"{_joined(_counts(counts))} ({printable(reason)})"
        for reason, counts in sorted(kinds.items(), key=lambda item: min(item[1]))
    ]
    # Kinds without a reason come last, so no reason in brackets seems to belong to them.
    described += _counts(without_reason)
    were = "was" if len(mentioned) == 1 else "were"
    return f"{counted(len(mentioned), 'file')} {were} not read: {', '.join(described)}"


def _counts(kinds: Mapping[str, int]) -> list[str]:
    return [f"{count} {printable(kind)}" for kind, count in sorted(kinds.items())]


def _joined(texts: Sequence[str]) -> str:
    """Join texts with commas and "and", e.g. "a, b and c"."""
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last


def printable(name: str) -> str:
    """Escape undecodable bytes and control characters, so that any terminal can print a name."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def named(names: Sequence[str]) -> str:
    """Return the first names and the number of the others: "a.png, b.png, c.png and 4 more"."""
    shown = ", ".join(printable(name) for name in names[:_NAMED])
    return shown + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def visible(part: str) -> bool:
    """Return False for a hidden name (such as ".git") and macOS's folder `__MACOSX`, else True."""
    return part in (".", "..") or (not part.startswith(".") and part != "__MACOSX")


def parts(name: str) -> list[str]:
    """Split a name at slashes and backslashes."""
    return re.split(r"[/\\]", name)


def _escapes(name: str) -> bool:
    return (
        ".." in parts(name) or name[:1] in ("/", "\\") or re.match(r"[A-Za-z]:", name) is not None
    )
