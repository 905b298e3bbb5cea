"""Make a film of a training from the grids of samples in its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fastgan_ray.counting import counted
from fastgan_ray.data.grid import GAP, cut_grid
from fastgan_ray.errors import UserError
from fastgan_ray.latent.video import Frame
from fastgan_ray.progress import Track, silently
from fastgan_ray.train.grids import GRID_TILES

CAPTION = 20  # pixels below the samples
_WHAT_TO_NAME = "name the folder of a training or of a trial that has at least 2 evaluations"


def find_grids(path: Path) -> list[Path]:
    """List the grids of samples of a training, the oldest first.

    The name of a grid is the number of images that the training had shown until then. `path` is the
    folder of a training, a trial or a search (its best trial), the folder `best` of a search, or a
    checkpoint in one of them. Raise UserError if there are fewer than 2 grids.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; {_WHAT_TO_NAME}")
    path = path.resolve()
    if (path / "metadata.json").is_file():  # a checkpoint
        path = path.parent
    for best in (path, path / "best"):
        if (best / ".source").is_file():
            path = best.parent / json.loads((best / ".source").read_text())[0]
    grids = [file for file in (path / "grids").glob("*.png") if file.stem.isdecimal()]
    if len(grids) < 2:
        raise UserError(f"{path}: has {counted(len(grids), 'grid')} of samples; {_WHAT_TO_NAME}")
    return sorted(grids, key=lambda file: int(file.stem))


def film(
    grids: Sequence[Path], count: int | None, width: int, track: Track = silently
) -> Iterator[Frame]:
    """Yield a frame for each grid, with the first `count` samples and the kimg below them.

    A frame is RGB and at most `width` pixels wide. Its sides are even, because most players need
    even sides. If `count` is None, all samples are shown. Raise UserError for a file that is not a
    grid of this training.
    """
    size = None
    for path in track(grids, "drawing"):
        frame = _frame(path, count, width)
        if frame.size != (size := size or frame.size):
            raise UserError(f"{path}: has another size than the earlier grids; remove it")
        yield np.asarray(frame)


def _frame(path: Path, count: int | None, width: int) -> Image.Image:
    try:
        with Image.open(path) as file:
            tiles = list(cut_grid(_on_white(file), GRID_TILES))[:count]
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: is not a grid of {GRID_TILES} samples ({error}); remove it"
        ) from error
    sheet = _sheet(tiles)
    factor = min(1.0, width / sheet.width)
    inside = [max(2, round(side * factor) // 2 * 2) for side in sheet.size]
    frame = Image.new("RGB", (inside[0], inside[1] + CAPTION), "white")
    frame.paste(sheet.resize((inside[0], inside[1]), Image.Resampling.LANCZOS))
    text = f"{int(path.stem) / 1000:g} kimg"
    font = ImageFont.load_default(CAPTION - 8)
    ImageDraw.Draw(frame).text((2, inside[1] + 2), text, fill="black", font=font)
    return frame


def _sheet(tiles: Sequence[Image.Image]) -> Image.Image:
    """Put tiles of the same size on a white sheet, in about as many columns as rows."""
    columns = math.ceil(math.sqrt(len(tiles)))
    step_x, step_y = (side + GAP for side in tiles[0].size)
    rows = math.ceil(len(tiles) / columns)
    sheet = Image.new("RGB", (columns * step_x - GAP, rows * step_y - GAP), "white")
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % columns * step_x, index // columns * step_y))
    return sheet


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
