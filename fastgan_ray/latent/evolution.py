"""Make video frames that show how a training progressed, from its sample grids."""

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
_WHAT_TO_GIVE = "give the folder of a training or a trial with at least 2 evaluations"


def find_grids(path: Path) -> list[Path]:
    """List the sample grids of a training, oldest first: one PNG file for each evaluation.

    The name of a PNG file is the number of training images before the evaluation. `path` is the
    folder of a training or a trial, or a checkpoint in such a folder. If `path` is the folder of a
    search, or the folder `best` in it, the grids of the best trial are listed. Raise UserError if
    there are fewer than 2 grids.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; {_WHAT_TO_GIVE}")
    path = path.resolve()
    if (path / "metadata.json").is_file():  # a checkpoint
        path = path.parent
    for best in (path, path / "best"):
        if (best / ".source").is_file():
            path = best.parent / json.loads((best / ".source").read_text())[0]
    grids = [file for file in (path / "grids").glob("*.png") if file.stem.isdecimal()]
    if len(grids) < 2:
        count = counted(len(grids), "sample grid")
        raise UserError(f"{path}: has {count}, but a video needs at least 2; {_WHAT_TO_GIVE}")
    return sorted(grids, key=lambda file: int(file.stem))


def film(
    grids: Sequence[Path], count: int | None, width: int, track: Track = silently
) -> Iterator[Frame]:
    """Yield one video frame for each grid: the first `count` samples, and below them the kimg.

    If `count` is None, a frame shows all samples. Frames are uint8 (H, W, 3), at most `width`
    pixels wide. H and W are even, because most video players need even sizes. Raise UserError if a
    file is not a sample grid, or if its frame has another size than the first frame.
    """
    size = None
    for path in track(grids, "drawing"):
        frame = _frame(path, count, width)
        if frame.size != (size := size or frame.size):
            raise UserError(
                f"{path}: its size differs from the size of the first grid; remove this file"
            )
        yield np.asarray(frame)


def _frame(path: Path, count: int | None, width: int) -> Image.Image:
    try:
        with Image.open(path) as file:
            tiles = list(cut_grid(_on_white(file), GRID_TILES))[:count]
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: is not a grid of {GRID_TILES} samples ({error}); remove this file"
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
    """Arrange tiles of equal size on a white sheet, with about as many columns as rows."""
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
