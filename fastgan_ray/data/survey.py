"""List every file of a set of pictures with its facts, and why a file is not used."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, TypedDict

from fastgan_ray.config.data import DataConfig
from fastgan_ray.counting import counted
from fastgan_ray.data.boxes import Cropped, crop_all
from fastgan_ray.data.catalog import resolve
from fastgan_ray.data.checking import Check, Picture, check_all
from fastgan_ray.data.containers import open_container
from fastgan_ray.data.kinds import suffix_of
from fastgan_ray.data.listing import Listing, named, printable
from fastgan_ray.errors import UserError
from fastgan_ray.progress import Track, silently

MODES = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with alpha",
    "I;16": "grey, 16 bits",
    "P": "palette",
    "PA": "palette",
    "RGB": "colour",
    "RGBA": "colour with alpha",
    "CMYK": "CMYK",
    "LAB": "Lab",
}


class Survey(NamedTuple):
    """All files of a set of pictures, with the results of checking them."""

    path: Path
    listing: Listing
    checks: list[Check]
    pictures: list[Picture]
    """The pictures that can be used."""
    without_box: tuple[str, ...] = ()
    """Names of the pictures that cannot be used because `data.boxes` has no box for them."""

    @property
    def unreadable(self) -> tuple[str, ...]:
        """A text "name: reason" for each picture that cannot be read."""
        return tuple(
            f"{printable(check.name)}: {check.reason}" for check in self.checks if check.reason
        )


class FileRow(TypedDict):
    """One row of `inventory`: a file, or one picture of a file that has several pictures."""

    name: str
    kind: str
    bytes: int | None
    width: int | None
    height: int | None
    mode: str
    profile: str
    is_used: bool
    reason: str  # why the file is not used, or a warning


def survey(config: DataConfig, track: Track = silently) -> Survey:
    """List all files of `config.path` and check every picture; damaged pictures cause no error.

    Raises UserError if `config.path` is missing, damaged, or not a set of pictures, or if the file
    `config.boxes` is not valid.
    """
    if not config.path:
        raise UserError(
            "data.path: no data given. Give a folder of pictures, an archive (.zip, .tar), a .npy "
            "file, an LMDB folder, or a name that `fastgan-ray data` lists."
        )
    path = resolve(config.path)
    listing = open_container(path)
    checks = check_all(path, listing, config.frames, track)
    pictures = [picture for check in checks for picture in check.pictures()]
    if config.boxes is None:
        return Survey(path, listing, checks, pictures)
    cropped = crop_all(pictures, Path(config.boxes).expanduser(), config.padding)
    listing = listing._replace(notes=(*listing.notes, *_notes(cropped, config)))
    return Survey(path, listing, checks, cropped.pictures, cropped.without_box)


def inventory(found: Survey) -> list[FileRow]:
    """Return a row for every file of a set of pictures, sorted by name.

    A file with several pictures has a row for each picture. A hidden folder has one row for all its
    files.
    """
    rows = [
        FileRow(
            name=printable(picture.name),
            kind=picture.kind,
            bytes=picture.bytes,
            width=picture.facts.width,
            height=picture.facts.height,
            mode=mode_of(picture),
            profile=picture.facts.profile,
            is_used=True,
            reason=picture.warning,
        )
        for picture in found.pictures
    ]
    rows += [
        _unused(check.name, suffix_of(check.name), check.reason, check.bytes)
        for check in found.checks
        if check.reason
    ]
    rows += [_unused(name, suffix_of(name), "no box in data.boxes") for name in found.without_box]
    rows += [_unused(entry.name, entry.kind, entry.reason) for entry in found.listing.left_out]
    return sorted(rows, key=lambda row: row["name"])


def _notes(cropped: Cropped, config: DataConfig) -> list[str]:
    notes = list(cropped.notes)
    if missing := cropped.without_box:
        left_out = f"{counted(len(missing), 'picture')} without a box in {config.boxes}"
        are = "is" if len(missing) == 1 else "are"
        notes.append(f"{left_out} {are} left out: {named(missing)}")
    return notes


def mode_of(picture: Picture) -> str:
    """Describe the colour mode of a picture's file in words, such as "grey with alpha"."""
    mode = MODES.get(picture.facts.mode, picture.facts.mode)
    is_marked = picture.facts.is_transparent and "alpha" not in mode
    return f"{mode} with transparent parts" if is_marked else mode


def _unused(name: str, kind: str, reason: str, size: int | None = None) -> FileRow:
    return FileRow(
        name=printable(name),
        kind=printable(kind),
        bytes=size,
        width=None,
        height=None,
        mode="",
        profile="",
        is_used=False,
        reason=printable(reason),
    )
