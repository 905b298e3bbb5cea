"""Render the page of a blind vote: pairs of pictures without names, in one self-contained file."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fastgan_ray.config.data import DataConfig
from fastgan_ray.data.fit import fit_picture
from fastgan_ray.data.grid import cut_grid
from fastgan_ray.data.source import Source, open_source
from fastgan_ray.errors import UserError
from fastgan_ray.progress import Track, silently
from fastgan_ray.report.data.vote_generators import Generator
from fastgan_ray.report.data.vote_page import Key, Pair
from fastgan_ray.report.page.pictures import data_uri
from fastgan_ray.report.page.render import render
from fastgan_ray.train.grids import GRID_TILES

SIDE = 720  # largest width in pixels of one side of a pair
QUALITY = 92
# Pixels. Pictures up to this side are stored without loss, because the page enlarges them.
SMALL = 300
OPEN_GRIDS = 8  # grids that are kept in memory; a grid of pictures of 1024 px has 113 MB


def vote_page(
    key: Key,
    generators: Sequence[Generator],
    pairs: Sequence[Pair],
    data: DataConfig,
    track: Track = silently,
) -> str:
    """Return the HTML of a blind vote that shows `pairs`, without names of runs and generators.

    In some pairs, one side shows training pictures from `data`, as a control. Raise UserError if
    the training pictures or a grid of samples cannot be read.
    """
    source = open_source(data, track=track)

    def images(pair: Pair) -> tuple[str, str]:
        return _pair_images(pair, generators, source, data)

    uris = [images(pair) for pair in track(pairs, "drawing pairs")]
    content = {"pairs": uris, "page": key["page"]}
    return render("vote.html.j2", "vote.js", ["style.css", "vote.css"], content)


def _pair_images(
    pair: Pair, generators: Sequence[Generator], source: Source, data: DataConfig
) -> tuple[str, str]:
    """Return the data URIs of the left and the right side of a pair.

    If one side shows training pictures, they get the size of the generated pictures on the other
    side.
    """
    sides: list[list[Image.Image] | None] = []
    for number, cell in zip((pair.left, pair.right), pair.cells, strict=True):
        is_control = number == len(generators)
        tiles = None if is_control else _tiles(generators[number]["grids"][cell])
        sides.append([tiles[index] for index in pair.tiles] if tiles else None)
    size = next(tiles[0].size for tiles in sides if tiles)
    control = _training_pictures(pair, source, data, size) if None in sides else []
    left, right = (_stored(_sheet(tiles or control)) for tiles in sides)
    return left, right


def _stored(sheet: Image.Image) -> str:
    return data_uri(sheet, QUALITY, lossless=max(sheet.size) <= SMALL)


@functools.lru_cache(OPEN_GRIDS)
def _tiles(path: Path) -> tuple[Image.Image, ...]:
    """Return the pictures in a grid of samples; raise UserError if `path` is not such a grid."""
    try:
        with Image.open(path) as grid:
            return tuple(cut_grid(grid.convert("RGBA"), GRID_TILES))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is not a grid of {GRID_TILES} samples ({error})") from error


def _training_pictures(
    pair: Pair, source: Source, data: DataConfig, size: tuple[int, int]
) -> list[Image.Image]:
    """Choose `len(pair.tiles)` training pictures at random, and fit them to `size`.

    `size` is (width, height) in pixels.
    """
    rng, (width, height) = np.random.default_rng(pair.tiles), size
    repeat = len(source) < len(pair.tiles)
    chosen = rng.choice(len(source), len(pair.tiles), replace=repeat)
    pictures = (source.read(int(index)) for index in chosen)
    return [
        fit_picture(picture, data.fit, data.background, (height, width)).convert("RGBA")
        for picture in pictures
    ]


def _sheet(tiles: Sequence[Image.Image]) -> Image.Image:
    """Arrange pictures of equal size in a square grid, scaled down to at most SIDE pixels.

    The page's background is visible between the pictures and through transparent parts.
    """
    columns, (width, height) = math.isqrt(len(tiles)), tiles[0].size
    gap = max(2, width // 32)
    size = (columns * (width + gap) - gap, columns * (height + gap) - gap)
    sheet = Image.new("RGBA", size, (0, 0, 0, 0))
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % columns * (width + gap), index // columns * (height + gap)))
    sheet.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return sheet
