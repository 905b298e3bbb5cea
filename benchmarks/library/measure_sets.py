"""Measure what the pictures of each data set of the library are like, at 32 px.

    python benchmarks/library/measure_sets.py

Writes sets.json: the number of pictures; the share of black and white pixels (`plain`, see
`fastgan_ray.data.plain`); the mean brightness; the mean saturation (`colour`); the standard
deviation of all channels (`contrast`); the mean difference of neighbouring pixels as a share of
the contrast (`detail`); and the share of the variance that the mean picture has (`alike`). All are
from 0 to 1. `build_sets.py` comes first.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from build_sets import data_path
from design import SETS

from fastgan_ray.config.data import DataConfig
from fastgan_ray.data.cached_array import load_images
from fastgan_ray.data.plain import SIDE, plain_share_of
from fastgan_ray.data.source import open_source

FILE = Path(__file__).with_name("sets.json")


def measured(name: str) -> dict[str, float]:
    """Return the numbers of a set."""
    config = DataConfig(path=data_path(name))
    images = np.asarray(load_images(open_source(config), config, (SIDE, SIDE))) / 255
    contrast = float(images.std())
    steps = [np.abs(np.diff(images, axis=axis)).mean() for axis in (1, 2)]
    numbers = {
        "plain": plain_share_of(config),
        "brightness": images.mean(),
        "colour": (images.max(axis=-1) - images.min(axis=-1)).mean(),
        "contrast": contrast,
        "detail": np.mean(steps) / contrast,
        "alike": images.mean(axis=0).var() / images.var(),
    }
    return {"pictures": len(images), **{key: round(float(v), 3) for key, v in numbers.items()}}


def main() -> None:
    """Write the file."""
    FILE.write_text(json.dumps({name: measured(name) for name in SETS}, indent=1) + "\n")


if __name__ == "__main__":
    main()
