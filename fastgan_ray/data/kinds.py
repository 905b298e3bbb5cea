"""Recognise the format of a file by its first bytes, and say which package a format needs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal

from PIL import features

HEAD_BYTES = 512
"""The number of bytes at the start of a file that are enough to recognise it."""

# A file with one of these suffixes must be a picture; if its content is not a
# picture, the file is damaged.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".tif", ".tiff"}
    | {".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".jpx", ".heic", ".heif"}
)
# Suffixes of cameras' raw files whose content may look like an ordinary TIFF file.
RAW_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos"}
    | {".nef", ".nrw", ".pef", ".rwl", ".sr2", ".srf", ".srw"}
)
ARRAY, RAW = "NPY", "RAW"
ARCHIVES = ("ZIP", "TAR", "GZIP", "BZIP2", "XZ", "7Z", "RAR", "ZSTD")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
_TIFF_HEADERS = (b"II*\0", b"MM\0*")
# Tags of a TIFF file.
_SUBFILE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50706


def kind_of(head: bytes) -> str:
    """Return the kind of a file with the first bytes `head`: a key of RECOGNISE, "" if unknown."""
    return next((kind for kind, matches in RECOGNISE.items() if matches(head)), "")


def is_picture(kind: str) -> bool:
    """Return whether files of this kind are pictures.

    `missing_decoder` says whether this installation can read them.
    """
    return kind in PICTURES


def missing_decoder(kind: str) -> str:
    """Return what the user must install to read pictures of this kind; "" if they can be read."""
    return MISSING[kind]() if kind in MISSING else ""


def is_raw(kind: str, suffix: str) -> bool:
    """Return whether a file is a camera's raw file, from its kind and its suffix in lower case.

    Raw files are not read, because their first picture may be a small preview.
    """
    return kind == RAW or (kind == "TIFF" and suffix in RAW_SUFFIXES)


def suffix_of(name: str) -> str:
    """Return a file's suffix in lower case, e.g. ".png"; "without a suffix" if it has none."""
    return Path(name).suffix.lower() or "without a suffix"


@lru_cache(maxsize=1)
def _missing_heif() -> str:
    if importlib.util.find_spec("pillow_heif") is None:
        return "to read HEIF pictures, run: pip install 'fastgan-ray[heif]'"
    import pillow_heif

    pillow_heif.register_heif_opener()
    return ""


def _missing_in_pillow(feature: str, mend: str) -> Callable[[], str]:
    return lambda: "" if feature in _supported() else mend


@lru_cache(maxsize=1)
def _supported() -> frozenset[str]:
    """Return the names of the optional features that the installed Pillow has.

    `features.check` is not used, because it warns about features that an old Pillow does not know.
    """
    return frozenset(features.get_supported())


def _starts(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(beginnings)


def _is_bmp(head: bytes) -> bool:
    """Recognise a BMP by its first letters "BM" and by the size of its header.

    The letters are not enough, because a text can also start with "BM".
    """
    return head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS


def _is_ppm(head: bytes) -> bool:
    return head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace()


def _brands(head: bytes) -> set[bytes]:
    """Return the brands (codes of formats) of an ISO media file; an empty set for other files.

    AVIF and HEIF files differ only in their brands.
    """
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}


def _is_avif(head: bytes) -> bool:
    return bool(_brands(head) & {b"avif", b"avis"})


def _is_heif(head: bytes) -> bool:
    known = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
    return bool(_brands(head) & known)


def _is_raw(head: bytes) -> bool:
    """Recognise a camera's raw file by its first bytes, or by its tags if it is a kind of TIFF.

    DNG, NEF and ARW are kinds of TIFF. Their first page is a reduced copy, and the picture is in a
    SubIFD.
    """
    beginnings = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb")
    if head.startswith(beginnings) or head[8:12] == b"CR\2\0" or b"crx " in _brands(head):
        return True
    tags = _first_tags(head)
    return _DNG_VERSION in tags or (_SUB_IFDS in tags and bool(tags.get(_SUBFILE, 0) & 1))


def _first_tags(head: bytes) -> dict[int, int]:
    """Return the tags of the first page of a TIFF file, and {} for other files.

    The keys are the numbers of the tags. The values are the last 4 bytes of the tags' entries, as
    integers. Tags that are not completely in `head` are left out.
    """
    if not head.startswith(_TIFF_HEADERS):
        return {}
    order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    start = int.from_bytes(head[4:8], order)
    end = start + 2 + 12 * int.from_bytes(head[start : start + 2], order)
    entries = [head[at : at + 12] for at in range(start + 2, min(end, len(head) - 11), 12)]
    return {int.from_bytes(entry[:2], order): int.from_bytes(entry[8:], order) for entry in entries}


RECOGNISE: dict[str, Callable[[bytes], bool]] = {
    # The keys of picture formats are Pillow's names of these formats.
    "JPEG": _starts(b"\xff\xd8\xff"),
    "PNG": _starts(b"\x89PNG\r\n\x1a\n"),
    "GIF": _starts(b"GIF87a", b"GIF89a"),
    "WEBP": lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP",
    "BMP": _is_bmp,
    RAW: _is_raw,  # before TIFF
    # The third and fourth are not valid TIFF, but Pillow reads them; the last two are BigTIFF.
    "TIFF": _starts(b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+"),
    "PPM": _is_ppm,
    "AVIF": _is_avif,
    "HEIF": _is_heif,
    "JPEG2000": _starts(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    ARRAY: _starts(b"\x93NUMPY"),
    "ZIP": _starts(b"PK\x03\x04", b"PK\x05\x06"),
    "GZIP": _starts(b"\x1f\x8b"),
    "BZIP2": _starts(b"BZh"),
    "XZ": _starts(b"\xfd7zXZ\0"),
    "7Z": _starts(b"7z\xbc\xaf\x27\x1c"),
    "RAR": _starts(b"Rar!\x1a\x07"),
    "ZSTD": _starts(b"\x28\xb5\x2f\xfd"),
    "TAR": lambda head: head[257:262] == b"ustar",
}
PICTURES = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "HEIF", "JPEG2000")
MISSING: dict[str, Callable[[], str]] = {
    "HEIF": _missing_heif,
    "AVIF": _missing_in_pillow("avif", "to read AVIF pictures, install Pillow 11.3 or newer"),
    "JPEG2000": _missing_in_pillow(
        "jpg_2000", "to read JPEG 2000 pictures, install Pillow with OpenJPEG"
    ),
    "WEBP": _missing_in_pillow("webp", "to read WebP pictures, install Pillow with libwebp"),
}
