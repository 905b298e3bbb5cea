"""Pictures of every mode, as files: coloured shapes, on nothing or on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def write_sprites(folder: Path, count: int, size: tuple[int, int] = (40, 40)) -> Path:
    """Write ellipses on transparent ground, with other hidden colours; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    width, height = size
    for index in range(count):
        rng = np.random.default_rng(index)
        hidden = tuple(int(value) for value in rng.integers(0, 255, 3))
        colour = tuple(int(value) for value in rng.integers(0, 200, 3))
        image = Image.new("RGBA", size, (*hidden, 0))
        left, top = rng.uniform(0.05, 0.3, 2)
        box = (left * width, top * height, width * (0.95 - left), height * (0.95 - top))
        ImageDraw.Draw(image).ellipse(box, fill=(*colour, 255))
        image.save(folder / f"{index}.png")
    return folder


def write_scans(folder: Path, count: int, size: tuple[int, int] = (40, 40)) -> Path:
    """Write grey ellipses on light ground, with one grey channel; return the folder."""
    write_sprites(folder, count, size)
    for path in folder.glob("*.png"):
        with Image.open(path) as sprite:
            paper = Image.new("RGBA", size, "#e0e0e0")
            paper.alpha_composite(sprite.convert("RGBA"))
        paper.convert("L").save(path)
    return folder
