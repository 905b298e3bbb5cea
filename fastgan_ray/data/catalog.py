"""The named data sets (CATALOG): find their zip archives, or download them.

The archives of small sets are in the package. The published few-shot sets at 256 px are downloaded.
The other sets, such as those of FastGAN's paper at 1024 px, cannot be downloaded. The user puts
their archives into the cache. The environment variable `FASTGAN_RAY_DATASETS_URL` sets the URL of a
mirror of the published few-shot sets.
"""

from __future__ import annotations

import difflib
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from fastgan_ray.config.paths import cache_dir
from fastgan_ray.data.cache import atomic_file, file_sha256
from fastgan_ray.data.download import DownloadError, download
from fastgan_ray.errors import UserError

DATASETS_URL = "https://data-efficient-gans.mit.edu/datasets"
_EMBEDDED = Path(__file__).parent / "embedded"
_NOT_STATED = "no licence stated; ask the authors of the set"
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class DataSet:
    """An entry of the catalog: a set of pictures that has a name for `data.path`."""

    images: int
    description: str
    licence: str
    embedded: bool = False
    downloadable: bool = True  # else, the user must put the zip archive into the cache


class Row(TypedDict):
    """One line of the list of named sets that `fastgan-ray data` prints."""

    name: str
    images: int
    description: str
    licence: str
    available: bool
    put_at: str | None


def catalog() -> list[Row]:
    """List every named set.

    `available` is True if the set can be used without a download. `put_at` is the path at which the
    user must put the zip archive of a set that cannot be downloaded. For other sets, it is None.
    """
    return [
        Row(
            name=name,
            images=entry.images,
            description=entry.description,
            licence=entry.licence,
            available=_local(name).is_file(),
            put_at=None if entry.downloadable else str(_local(name)),
        )
        for name, entry in CATALOG.items()
    ]


def resolve(path: str) -> Path:
    """Return the path of the pictures: `path` itself, or the archive of the set named `path`.

    If `path` exists, it is returned, even if a named set has the same name. The archive of a named
    set is downloaded when the set is first used. Raises UserError if `path` does not exist and no
    set has this name. Also raises UserError if the archive cannot be downloaded or has changed; the
    message says what to do.
    """
    if (existing := _existing_path(path)) is not None:
        return existing
    if path not in CATALOG:
        raise UserError(_unknown(path))
    if not CATALOG[path].embedded:
        _ensure_archive(path)
    return _local(path)


def _local(name: str) -> Path:
    folder = _EMBEDDED if CATALOG[name].embedded else cache_dir() / "datasets"
    return folder / f"{name}.zip"


def _existing_path(text: str) -> Path | None:
    """Return `text` as a path, or None if this path does not exist or `text` cannot be a path."""
    try:
        path = Path(text).expanduser()
        return path if text and path.exists() else None
    except (OSError, ValueError, RuntimeError):
        return None


def _unknown(path: str) -> str:
    lowered = {name.lower(): name for name in CATALOG}
    near = [lowered[match] for match in difflib.get_close_matches(path.lower(), lowered)]
    folder = Path(path).parent
    if _existing_path(str(folder)) is not None and folder.is_dir():
        siblings = [entry.name for entry in folder.iterdir()]
        matches = difflib.get_close_matches(Path(path).name, siblings)
        near += [str(folder / match) for match in matches]
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return (
        "data.path must be a folder, an archive (.zip, .tar), a .npy file, an LMDB folder or a "
        f"name that `fastgan-ray data` lists, but {path!r} is none of these (current folder: "
        f"{Path.cwd()}).{hint}"
    )


def _ensure_archive(name: str) -> None:
    """Download the archive of a set if it is missing; check that it is the same as at first use.

    The authors of the sets publish no checksums. So the archive is trusted at first use, and its
    sha256 is recorded in a file next to the archive. Raises UserError if the sha256 later differs
    from the record, if the archive is not complete, or if it cannot be downloaded.
    """
    target = _local(name)
    record = target.with_suffix(".json")
    recorded = _recorded_sha256(record)
    downloadable = CATALOG[name].downloadable
    url = f"{_base_url()}/{name}.zip" if downloadable else None
    how_to_restore = (
        "Delete this file to download it again"
        if downloadable
        else "Put the original file back to use the set"
    )
    if target.is_file():
        sha256 = file_sha256(target)
        if recorded is not None and sha256 != recorded:
            raise UserError(
                f"{target} has changed since its first use (sha256 was {recorded}, is now "
                f"{sha256}). {how_to_restore}. Or delete {record.name} to accept the changed file."
            )
        if not zipfile.is_zipfile(target):
            how_to_mend = (
                "Delete this file to download it again"
                if downloadable
                else "Replace this file by a complete archive"
            )
            raise UserError(f"{target} is not a complete zip archive. {how_to_mend}.")
    elif url is None:
        raise UserError(
            f"{name}: this set cannot be downloaded, because no address is known. Put its pictures "
            f"({CATALOG[name].description}) into a zip archive at {target}, or name a folder of "
            "pictures with --data or data.path."
        )
    else:
        sha256 = _download(name, url, target, recorded)
    if recorded is None:
        with atomic_file(record) as partial:
            partial.write_text(json.dumps({"sha256": sha256, "url": url}) + "\n", encoding="utf-8")


def _download(name: str, url: str, target: Path, recorded: str | None) -> str:
    """Download the archive of the set `name` from `url` to `target`; return its sha256.

    Raises UserError, and does not write `target`, if the download fails, if the file is not a zip
    archive, or if its sha256 differs from `recorded` (None: any sha256 is accepted).
    """
    with atomic_file(target) as partial:
        try:
            download(url, partial, _TIMEOUT_SECONDS)
        except DownloadError as error:
            raise UserError(
                f"{name}: cannot download {url} ({error}). If this machine has no "
                "network, download the file on another machine and copy it to "
                f"{target}. To use a mirror, set FASTGAN_RAY_DATASETS_URL."
            ) from error
        if not zipfile.is_zipfile(partial):
            raise UserError(
                f"{name}: {url} is not a zip archive. Open this address in a browser to see why, "
                f"and put the zip archive of the set at {target}."
            )
        sha256 = file_sha256(partial)
        if recorded is not None and sha256 != recorded:
            raise UserError(
                f"{name}: {url} has changed since its first download (sha256 was {recorded}, is "
                f"now {sha256}). Delete {target.with_suffix('.json')} to accept the new file."
            )
    return sha256


def _base_url() -> str:
    url = os.environ.get("FASTGAN_RAY_DATASETS_URL", DATASETS_URL).rstrip("/")
    if not url.startswith(("https://", "http://")):
        raise UserError(
            f"FASTGAN_RAY_DATASETS_URL must start with https:// or http:// (got {url!r})."
        )
    return url


def _recorded_sha256(record: Path) -> str | None:
    try:
        stored: Any = json.loads(record.read_text(encoding="utf-8"))
        return str(stored["sha256"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{record} must contain the sha256 of the zip archive next to it, but cannot "
            f"be read ({error}). Delete {record.name}, and the sha256 is recorded again."
        ) from error


def _by_hand(images: int, description: str) -> DataSet:
    """Return the entry of a set from table 3 of FastGAN's paper; it has no download."""
    text = f"{description}, 1024 px in FastGAN's paper"
    return DataSet(images, text, _NOT_STATED, downloadable=False)


_FROM_OXFORD = "no licence stated; see www.robots.ox.ac.uk/~vgg/data/flowers"
_FROM_CALTECH = "no licence stated; see www.vision.caltech.edu/datasets/cub_200_2011"


CATALOG: dict[str, DataSet] = {
    "fluent-heads": DataSet(198, "3D emoji heads on white, 128 px", "MIT (Microsoft)", True),
    "matcaps": DataSet(
        284, "spheres of many materials, 128 px (the easiest set to learn)", "CC0", True
    ),
    "100-shot-obama": DataSet(100, "faces of Barack Obama, 256 px", _NOT_STATED),
    "100-shot-panda": DataSet(100, "faces of pandas, 256 px", _NOT_STATED),
    "100-shot-grumpy_cat": DataSet(100, "faces of one cat, 256 px", _NOT_STATED),
    "100-shot-bridge_of_sighs": DataSet(100, "the Bridge of Sighs, 256 px", _NOT_STATED),
    "100-shot-medici_fountain": DataSet(100, "the Medici fountain, 256 px", _NOT_STATED),
    "100-shot-temple_of_heaven": DataSet(100, "the Temple of Heaven, 256 px", _NOT_STATED),
    "100-shot-wuzhen": DataSet(100, "Wuzhen water town, 256 px", _NOT_STATED),
    "AnimalFace-cat": DataSet(160, "faces of cats, 256 px", _NOT_STATED),
    "AnimalFace-dog": DataSet(389, "faces of dogs, 256 px", _NOT_STATED),
    "art-painting": _by_hand(1000, "art paintings"),
    "ffhq-1k": _by_hand(1000, "faces from FFHQ"),
    "flower-1k": _by_hand(1000, "flowers"),
    "pokemon": _by_hand(833, "drawings of Pokemon"),
    "anime-face": _by_hand(120, "drawn faces"),
    "skulls": _by_hand(97, "skulls"),
    "shells": _by_hand(64, "shells"),
    "caltech-birds": DataSet(
        11788, "birds (CUB-200-2011, which has boxes)", _FROM_CALTECH, downloadable=False
    ),
    "oxford-flowers-17": DataSet(
        1360, "flowers of 17 kinds, from Oxford", _FROM_OXFORD, downloadable=False
    ),
    "oxford-flowers-102": DataSet(
        8189, "flowers of 102 kinds, from Oxford", _FROM_OXFORD, downloadable=False
    ),
}
