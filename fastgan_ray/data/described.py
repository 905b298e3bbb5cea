"""Write and read pictures.json, which describes the sets of pictures of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from fastgan_ray.config.data import DataConfig
from fastgan_ray.data.fit import Size
from fastgan_ray.data.plain import measured_share
from fastgan_ray.data.remarks import remarks
from fastgan_ray.data.source import Source
from fastgan_ray.files import write_atomically

FILE = "pictures.json"


class Described(TypedDict):
    """The description of a set of pictures."""

    path: str  # or the name of a named set, as the user wrote it
    pictures: int
    remarks: list[str]
    plain: float | None  # share of black and white pixels; None if it was not measured


def describe(
    source: Source, config: DataConfig, size: Size, is_searched: bool = False
) -> Described:
    """Describe a set of pictures: path, number of pictures, and remarks.

    With `is_searched`, also measure the plain share, from which later searches learn (`learn`). For
    this, up to 100 pictures are decoded.

    `size` is the height and width, in px, of the pictures on which the networks train.
    """
    return {
        "path": str(config.path),
        "pictures": len(source),
        "remarks": remarks(source, config, size),
        "plain": measured_share(source, config) if is_searched else None,
    }


def write_described(folder: Path, sets: Sequence[Described]) -> None:
    """Write the descriptions of a run's sets of pictures to its folder."""
    write_atomically(folder / FILE, json.dumps(sets, indent=1))


def read_described(folder: Path) -> list[Described]:
    """Read the descriptions that `write_described` wrote; return [] if the file does not exist."""
    path = folder / FILE
    return list(json.loads(path.read_text())) if path.is_file() else []
