"""What a run's folder says about its sets of pictures: their number, and the remarks on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from fastgan_ray.config.data import DataConfig
from fastgan_ray.data.fit import Size
from fastgan_ray.data.remarks import remarks
from fastgan_ray.data.source import Source
from fastgan_ray.files import write_atomically

FILE = "pictures.json"


class Described(TypedDict):
    """A set of pictures; `path` is the set's path or name, as the user gave it."""

    path: str
    pictures: int
    remarks: list[str]


def describe(source: Source, config: DataConfig, size: Size) -> Described:
    """Return a set's path, its number of pictures, and the remarks about them.

    `size` is the height and width, in px, of the pictures on which the networks train.
    """
    sentences = remarks(source, config, size)
    return {"path": str(config.path), "pictures": len(source), "remarks": sentences}


def write_described(folder: Path, sets: Sequence[Described]) -> None:
    """Write the descriptions of a run's sets of pictures to its folder."""
    write_atomically(folder / FILE, json.dumps(sets, indent=1))


def read_described(folder: Path) -> list[Described]:
    """Return what `write_described` wrote; [] if the run uses no pictures."""
    path = folder / FILE
    return list(json.loads(path.read_text())) if path.is_file() else []
