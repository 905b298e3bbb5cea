"""Check every picture of a set by decoding it; store the results in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import PIL

from fastgan_ray.config.paths import cache_dir
from fastgan_ray.data.arrays import row_names
from fastgan_ray.data.cache import atomic_file
from fastgan_ray.data.inspection import (
    FileFacts,
    Frames,
    PictureFacts,
    as_json,
    from_json,
    inspect,
)
from fastgan_ray.data.listing import Listing
from fastgan_ray.data.threads import map_in_threads
from fastgan_ray.errors import UserError
from fastgan_ray.progress import Track

_VERSION = 2  # increase this number when `inspect` becomes stricter or returns other facts


class Picture(NamedTuple):
    """A picture that could be decoded: a whole file, or one page or frame of a file."""

    name: str
    """The file's name; if the file has several frames, "a.gif[07]"."""
    file: str
    sha256: str
    """sha256 of the file's bytes, in hexadecimal."""
    bytes: int
    kind: str
    warning: str
    facts: PictureFacts
    frame_count: int
    crop: tuple[int, int, int, int] | None = None
    """Left, top, right and bottom of the crop that is used, in pixels; None: the whole picture."""


class Check(NamedTuple):
    """The result of checking one file: its properties, or the reason why it cannot be used."""

    name: str
    sha256: str
    bytes: int
    reason: str
    """Why the file cannot be used; "" if it can."""
    facts: FileFacts | None

    def pictures(self) -> list[Picture]:
        """Return the pictures of the file; an empty list if the file cannot be used."""
        facts = self.facts
        if facts is None:
            return []
        several = len(facts.pictures) > 1
        names = row_names(self.name, len(facts.pictures) if several else None)
        return [
            Picture(
                name,
                self.name,
                self.sha256,
                self.bytes,
                facts.kind,
                facts.warning,
                picture,
                facts.frame_count,
            )
            for name, picture in zip(names, facts.pictures, strict=True)
        ]


def check_all(path: Path, listing: Listing, frames: Frames, track: Track) -> list[Check]:
    """Check every picture in `listing`; return the results in the order of `listing.names`.

    `path` is the folder, archive, array or LMDB of the listing. Each file is read, but decoded only
    if the cache does not have the properties (`FileFacts`) of a file with this content.
    """
    identity = f"{path.resolve()}\n{_VERSION}\n{PIL.__version__}\n{frames}"
    key = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()
    record = cache_dir() / "checked" / f"{key}.json"
    known = _known(record)

    def check(index: int) -> Check:
        name, sha256, size = listing.names[index], "", 0
        try:
            data = listing.read(name)
            sha256, size = hashlib.sha256(data).hexdigest(), len(data)
            facts = known.get(sha256) or inspect(data, frames)
        except UserError as error:
            return Check(name, sha256, size, str(error), None)
        except Exception as error:  # each container raises errors of its own
            reason = f"cannot be read ({error or type(error).__name__})"
            return Check(name, sha256, size, reason, None)
        return Check(name, sha256, size, "", facts)

    checks = list(map_in_threads(check, len(listing.names), track, "checking pictures"))
    good = {check.sha256: check.facts for check in checks if check.facts is not None}
    if not good.keys() <= known.keys():
        with atomic_file(record) as draft:
            stored = {sha256: as_json(facts) for sha256, facts in sorted(good.items())}
            draft.write_text(json.dumps(stored), encoding="utf-8")
    return checks


def _known(record: Path) -> Mapping[str, FileFacts]:
    """Read the properties of checked picture files from the cache file `record`.

    The keys of the result are the sha256 of the picture files. Damaged entries are left out. If
    `record` is missing or damaged, the result is empty.
    """
    try:
        stored = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    entries = stored.items() if isinstance(stored, dict) else []
    known = {sha256: from_json(facts) for sha256, facts in entries}
    return {sha256: facts for sha256, facts in known.items() if facts is not None}
