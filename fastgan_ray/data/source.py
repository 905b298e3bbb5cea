"""Open a set of pictures: check each, apply `data.limit`, and compute the hash of the set."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from fastgan_ray.config.data import DataConfig, Mode
from fastgan_ray.counting import counted
from fastgan_ray.data.checking import Check, Picture
from fastgan_ray.data.decode import decode, pillow_warnings_off
from fastgan_ray.data.listing import LeftOut, Read, describe_left_out, printable
from fastgan_ray.data.survey import Survey, survey
from fastgan_ray.errors import UserError
from fastgan_ray.progress import Track, silently

_LISTED = 20  # how many pictures without a box an error lists


@dataclass(frozen=True)
class Source:
    """A set of pictures, sorted by name. All could be decoded when the source was opened."""

    path: Path
    pictures: tuple[Picture, ...]
    skipped: tuple[str, ...]  # unreadable files: "name: reason"
    left_out: tuple[LeftOut, ...]  # files that are not pictures, or need another decoder
    notes: tuple[str, ...]  # what the user must know about the container
    background: str
    mode: Mode
    read_bytes: Read

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the pictures."""
        return tuple(picture.name for picture in self.pictures)

    @functools.cached_property
    def digest(self) -> str:
        """The sha256 of the names, bytes and crops of the pictures."""
        digest = hashlib.sha256()
        for picture in self.pictures:
            digest.update(picture.name.encode("utf-8", "surrogateescape") + b"\0")
            digest.update(bytes.fromhex(picture.sha256))
            if picture.crop is not None:
                digest.update(repr(picture.crop).encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, index: int, background: str | None = None) -> Image.Image:
        """Read picture `index` at its original size, in the source's mode.

        The picture is rotated as its EXIF data says. With `data.boxes`, the result is only the crop
        around its box. If the mode has no alpha, transparent parts show the colour `background`
        (None: the source's background). Raises UserError if the picture was changed, removed or
        damaged since the source was opened.
        """
        picture = self.pictures[index]
        try:
            data = self.read_bytes(picture.file)
        except Exception as error:  # each container raises errors of its own
            raise UserError(
                f"{self.path}: {printable(picture.file)} can no longer be read ({error})"
            ) from error
        if hashlib.sha256(data).hexdigest() != picture.sha256:
            raise UserError(
                f"{self.path}: {printable(picture.file)} changed while in use. Start again, and do "
                "not change the data during a run."
            )
        with pillow_warnings_off():
            background = background or self.background
            image = decode(data, background, picture.facts.frame, self.mode)
        return image if picture.crop is None else image.crop(picture.crop)


def open_source(config: DataConfig, seed: int = 0, track: Track = silently) -> Source:
    """Open the pictures at `config.path` and check every picture.

    `config.path` is a path that `open_container` can open, or a name in the catalog. Each picture
    is decoded only once, because its properties are stored in the cache. If `config.limit` is set,
    `seed` decides which pictures are chosen. Raises UserError if fewer than 2 pictures are usable.
    With `on_bad_image: error`, also raises UserError if a picture cannot be read or has no box in
    `config.boxes`; the message lists these pictures.
    """
    found = survey(config, track)
    path, listing, bad = found.path, found.listing, found.unreadable
    if not listing.names:
        raise UserError(_no_pictures(path, listing.left_out))
    usable, refuse_bad = len(found.pictures), config.on_bad_image == "error"
    if found.without_box and (refuse_bad or not usable):
        raise UserError(_no_box(found, config))
    _require_enough(path, found.checks, usable, bad, refuse_bad)
    everything = Source(
        path=path,
        pictures=tuple(found.pictures),
        skipped=bad,
        left_out=listing.left_out,
        notes=listing.notes,
        background=config.background,
        mode=config.mode,
        read_bytes=listing.read,
    )
    return limited(everything, config, seed)


def limited(source: Source, config: DataConfig, seed: int) -> Source:
    """Return a source with `config.limit` of the pictures, chosen at random by `seed`.

    The pictures with the lowest hashes of seed and name are chosen. So a smaller choice is part of
    every larger choice, and a new picture in the data replaces at most one chosen picture. Raises
    UserError if the limit is a fraction that gives fewer than 2 pictures.
    """
    count = config.limited(len(source))
    if count < 2:
        raise UserError(
            f"data.limit: the fraction {config.limit:g} of {counted(len(source), 'picture')} in "
            f"{source.path} is {counted(count, 'picture')}, but at least 2 are needed; set a "
            "higher limit"
        )
    if count >= len(source):
        return source

    def rank(picture: Picture) -> bytes:
        return hashlib.sha256(f"{seed}\n{printable(picture.name)}".encode()).digest()

    chosen = sorted(source.pictures, key=rank)[:count]
    return with_pictures(source, sorted(chosen, key=lambda picture: picture.name))


def with_pictures(source: Source, pictures: Sequence[Picture]) -> Source:
    """Return a copy of `source` that has only `pictures`, in this order."""
    return replace(source, pictures=tuple(pictures))


def _require_enough(
    path: Path, checks: Sequence[Check], usable: int, bad: Sequence[str], refuse_bad: bool
) -> None:
    """Raise UserError if `usable` is below 2, or if `refuse_bad` is True and `bad` is not empty.

    `usable` is the number of usable pictures. `bad` has a text "name: reason" for each picture that
    cannot be read. `checks` are the results for all files.
    """
    count, listed = len(checks), "\n".join(f"  {line}" for line in bad)
    if bad and (refuse_bad or len(bad) == count):
        problem = (
            f"none of {counted(count, 'picture')} can be read"
            if len(bad) == count
            else f"{len(bad)} of {counted(count, 'picture')} cannot be read"
        )
        how_to_mend = "Replace or remove these pictures"
        if usable >= 2:
            how_to_mend += ", or leave them out with data.on_bad_image: skip"
        elif len(bad) == count:
            how_to_mend = "Check that these files are pictures and were copied completely"
        raise UserError(f"{path}: {problem}:\n{listed}\n{how_to_mend}.")
    if usable < 2:
        raise UserError(
            f"{path}: at least 2 usable pictures are needed, but got {usable} of {count}"
            + (f"; these pictures cannot be read:\n{listed}" if bad else ".")
            + "\nAdd pictures (50 to 400 are usual)."
        )


def _no_box(found: Survey, config: DataConfig) -> str:
    missing, count = found.without_box, len(found.pictures) + len(found.without_box)
    listed = "\n".join(f"  {printable(name)}" for name in missing[:_LISTED])
    if len(missing) > _LISTED:
        listed += f"\n  and {len(missing) - _LISTED} more"
    how_to_mend = "Add a row for each, or leave these pictures out with data.on_bad_image: skip"
    if not found.pictures:
        how_to_mend = 'The column "name" must have the path of each picture, relative to data.path'
    return (
        f"{found.path}: {len(missing)} of {counted(count, 'picture')} have no box in "
        f"{config.boxes}:\n{listed}\n{how_to_mend}."
    )


def _no_pictures(path: Path, left_out: Sequence[LeftOut]) -> str:
    if path.is_dir() and not any(path.iterdir()):
        return f"{path} is an empty folder. Put pictures into it."
    described = describe_left_out(left_out)
    return (
        f"{path} contains no pictures{f' ({described})' if described else ''}. Put pictures "
        "into it."
    )
