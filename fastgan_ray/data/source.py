"""Open a set of pictures, check every picture, and compute a hash that identifies the set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import PIL
from PIL import Image

from fastgan_ray.config.paths import cache_dir
from fastgan_ray.config.run_config import DataConfig
from fastgan_ray.data.cache import atomic_file
from fastgan_ray.data.catalog import resolve
from fastgan_ray.data.containers import Read, open_container, printable
from fastgan_ray.data.decode import decode, pillow_warnings_off
from fastgan_ray.data.threads import map_in_threads
from fastgan_ray.errors import UserError
from fastgan_ray.progress import Track, silently

_VERSION = 1  # increase it when `decode` becomes stricter


@dataclass(frozen=True)
class Source:
    """Pictures in the order of their names; all could be decoded when the source was opened."""

    path: Path
    names: tuple[str, ...]
    skipped: tuple[str, ...]  # "name: reason"
    digest: str  # sha256 of the names and bytes of the pictures in `names`
    background: str
    hashes: tuple[str, ...]  # sha256 of each picture's bytes
    read_bytes: Read

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int, background: str | None = None) -> Image.Image:
        """Read picture `index` at its original size: RGB, turned as EXIF says, without alpha.

        Transparent parts show `background` (None: the source's). Raises UserError if the picture
        was changed, removed or damaged since the source was opened.
        """
        name = self.names[index]
        try:
            data = self.read_bytes(name)
        except Exception as error:  # each container raises errors of its own
            raise UserError(
                f"{self.path}: {printable(name)} can no longer be read ({error})"
            ) from error
        if hashlib.sha256(data).hexdigest() != self.hashes[index]:
            raise UserError(
                f"{self.path}: {printable(name)} changed while in use. Start again, and do not "
                "change the data during a run."
            )
        with pillow_warnings_off():
            return decode(data, background or self.background)


def open_source(config: DataConfig, seed: int = 0, track: Track = silently) -> Source:
    """Open `config.path` (folder, zip, LMDB or a name of the catalog) and check every picture.

    Each picture is decoded completely once; the cache records the hashes of good pictures. `seed`
    only chooses the subset of `config.limit` pictures. The subset of a smaller limit is part of the
    subset of a larger limit. Raises UserError if fewer than 2 pictures are usable. With
    `on_bad_image: error`, raises UserError that lists all unreadable pictures.
    """
    if not config.path:
        raise UserError(
            "data.path: no data given. Give a folder of pictures, a .zip, an LMDB folder, or a "
            "name that `fastgan-ray data` lists."
        )
    path = resolve(config.path)
    names, read_bytes = open_container(path)
    if not names:
        raise UserError(_no_pictures(path))
    checks = _check_all(path, names, read_bytes, config.background, track)
    good = [check for check in checks if not check.reason]
    bad = tuple(f"{printable(check.name)}: {check.reason}" for check in checks if check.reason)
    _require_enough(path, good, bad, config.on_bad_image == "error")
    subset = _subset(good, config.limit, seed)
    return Source(
        path=path,
        names=tuple(check.name for check in subset),
        skipped=bad,
        digest=_digest(subset),
        background=config.background,
        hashes=tuple(check.sha256 for check in subset),
        read_bytes=read_bytes,
    )


class _Check(NamedTuple):
    name: str
    sha256: str
    reason: str  # why the picture cannot be used; "" if it can be used


def _check_all(
    path: Path, names: Sequence[str], read: Read, background: str, track: Track
) -> list[_Check]:
    """Read and hash every picture; decode it unless the cache records it as good."""
    identity = f"{path.resolve()}\n{_VERSION}\n{PIL.__version__}"
    key = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()
    record = cache_dir() / "checked" / f"{key}.json"
    known = _known_good(record)

    def check(index: int) -> _Check:
        name, sha256 = names[index], ""
        try:
            data = read(name)
            sha256 = hashlib.sha256(data).hexdigest()
            if sha256 not in known:
                decode(data, background)
        except UserError as error:
            return _Check(name, sha256, str(error))
        except Exception as error:  # each container raises errors of its own
            return _Check(name, sha256, f"cannot be read ({error or type(error).__name__})")
        return _Check(name, sha256, "")

    checks = list(map_in_threads(check, len(names), track, "checking pictures"))
    good = {check.sha256 for check in checks if not check.reason}
    if not good <= known:
        with atomic_file(record) as partial:
            partial.write_text(json.dumps(sorted(good)), encoding="utf-8")
    return checks


def _known_good(record: Path) -> set[str]:
    try:
        stored = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    entries = stored if isinstance(stored, list) else []
    return {sha256 for sha256 in entries if isinstance(sha256, str)}


def _require_enough(
    path: Path, good: Sequence[_Check], bad: Sequence[str], refuse_bad: bool
) -> None:
    """Raise UserError for fewer than 2 good pictures, or for any bad one if `refuse_bad`."""
    count, listed = len(good) + len(bad), "\n".join(f"  {line}" for line in bad)
    if bad and refuse_bad:
        raise UserError(
            f"{path}: {len(bad)} of {count} pictures cannot be read:\n{listed}\n"
            "Replace or remove them, or leave them out with data.on_bad_image: skip."
        )
    if len(good) < 2:
        raise UserError(
            f"{path}: at least 2 usable pictures are needed, but got {len(good)} of {count}"
            + (f"; these cannot be read:\n{listed}" if bad else ".")
            + "\nAdd pictures (50 to 400 is usual)."
        )


def _subset(checks: list[_Check], limit: int | None, seed: int) -> list[_Check]:
    """Choose the `limit` pictures with the lowest hashes of seed and name, in the original order.

    Because it uses hashes and not a permutation, a picture that is added or removed changes at most
    one choice.
    """
    if limit is None or limit >= len(checks):
        return checks

    def rank(check: _Check) -> bytes:
        return hashlib.sha256(f"{seed}\n{printable(check.name)}".encode()).digest()

    return sorted(sorted(checks, key=rank)[:limit], key=lambda check: check.name)


def _digest(checks: list[_Check]) -> str:
    digest = hashlib.sha256()
    for check in checks:
        digest.update(check.name.encode("utf-8", "surrogateescape") + b"\0")
        digest.update(bytes.fromhex(check.sha256))
    return digest.hexdigest()


def _no_pictures(path: Path) -> str:
    kinds = "jpg, jpeg, png, webp, bmp, tif, tiff or gif"
    if path.is_dir() and not any(path.iterdir()):
        return f"{path} is an empty folder. Put pictures ({kinds}) into it."
    return f"{path} contains no pictures (files ending in {kinds}). Put some into it."
