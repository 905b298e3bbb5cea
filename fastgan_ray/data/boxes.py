"""Read the boxes of objects in pictures from a CSV file, and crop pictures by their boxes.

The file has the columns name, x, y, width and height, in any order. Other columns are ignored. The
name is a picture's path, relative to `data.path`. x and y are the upper left corner of the box. All
numbers are in pixels, measured after the picture is rotated as its EXIF data says.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fastgan_ray.counting import counted
from fastgan_ray.data.checking import Picture
from fastgan_ray.data.listing import named, printable
from fastgan_ray.errors import UserError

COLUMNS = ("name", "x", "y", "width", "height")
_OUTSIDE = 1.0  # px that a box may exceed its picture, e.g. because x and y count from 1
Crop = tuple[int, int, int, int]  # left, top, right, bottom in pixels, as in PIL


class Box(NamedTuple):
    """The box of an object, in pixels, and the number of its line in the CSV file."""

    x: float
    y: float
    width: float
    height: float
    line: int


class Cropped(NamedTuple):
    """The result of `crop_all`."""

    pictures: list[Picture]
    """The pictures that have a box, with their crops."""
    without_box: tuple[str, ...]
    """Names of pictures without a box."""
    notes: tuple[str, ...]
    """Remarks for the user."""


def crop_all(pictures: Sequence[Picture], path: Path, padding: float) -> Cropped:
    """Compute the crop of each picture that has a box in the CSV file `path`.

    `padding` makes the crop larger than the box; see `crop_of`. If a picture file has several
    pages, a row can name a page ("a.tif[07]") or the file ("a.tif"). The row of the file is used
    for all pages that have no row. In the result, each picture's `facts` have the width and height
    of its crop. Raises UserError if the CSV file or a row is not valid, or if a box extends more
    than 1 pixel beyond its picture.
    """
    boxes = read_boxes(path)
    cropped, without_box, used = [], [], set()
    for picture in pictures:
        key = picture.name if picture.name in boxes else picture.file
        if (box := boxes.get(key)) is None:
            without_box.append(picture.name)
            continue
        used.add(key)
        facts = picture.facts
        _require_inside(box, facts.width, facts.height, picture.name, path)
        left, top, right, bottom = crop = crop_of(box, padding, facts.width, facts.height)
        facts = facts._replace(width=right - left, height=bottom - top)
        cropped.append(picture._replace(facts=facts, crop=crop))
    unused = [name for name in boxes if name not in used]
    notes = (
        f"{path} has {counted(len(unused), 'row')} for names that are not in the data: "
        f"{named(unused)}",
    )
    return Cropped(cropped, tuple(without_box), notes if unused else ())


def crop_of(box: Box, padding: float, width: int, height: int) -> Crop:
    """Return a square crop around a box; its side is (1 + `padding`) times the box's longer side.

    `width` and `height` are the size of the picture. A square that extends beyond the picture is
    moved into the picture. If the square is wider or higher than the picture, the crop is a
    rectangle with the width or height of the picture. Source: Keras' ADA example (Beres 2021). The
    example does not move squares; it cuts off the part outside the picture.
    """
    side = (1 + padding) * max(box.width, box.height)
    left, right = _interval(box.x + box.width / 2, side, width)
    top, bottom = _interval(box.y + box.height / 2, side, height)
    return left, top, right, bottom


def read_boxes(path: Path) -> dict[str, Box]:
    """Read the CSV file `path`; return a dict from picture names to boxes.

    Raises UserError if the file or a row is not valid. The message names the file, and the line if
    a line is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"data.boxes: cannot read {path} ({error}). It must be a CSV file in UTF-8 with the "
            f"columns {', '.join(COLUMNS)}"
        ) from error
    rows = csv.reader(text.splitlines(), strict=True)
    boxes: dict[str, Box] = {}
    try:
        header = [column.strip() for column in next(rows, [])]
        columns = _columns(header, path)
        for row in rows:
            if row:
                name, box = _read_row(row, len(header), columns, f"{path}, line {rows.line_num}")
                if (other := boxes.get(name)) is not None:
                    raise UserError(
                        f"{path}, line {rows.line_num}: {printable(name)} already has a box in "
                        f"line {other.line}; keep one row for each picture"
                    )
                boxes[name] = box._replace(line=rows.line_num)
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: not valid CSV ({error})") from error
    if not boxes:
        raise UserError(f"{path} has no boxes; add a row for each picture after the header")
    return boxes


def _columns(header: list[str], path: Path) -> list[int]:
    """Return the index of each of COLUMNS in the header of the CSV file.

    Raises UserError if a column is missing or repeated.
    """
    wrong = [column for column in COLUMNS if header.count(column) != 1]
    if wrong:
        raise UserError(
            f"{path}, line 1: the header must name each of the columns {', '.join(COLUMNS)} once, "
            f"but it names {', '.join(header) or 'nothing'} (missing or repeated: "
            f"{', '.join(wrong)})"
        )
    return [header.index(column) for column in COLUMNS]


def _read_row(row: list[str], count: int, columns: list[int], where: str) -> tuple[str, Box]:
    """Return the picture's name and the box in a row; raise UserError if the row is not valid.

    `count` is the number of values that the row must have. `columns` is a result of `_columns`.
    `where` names the row in messages. In the returned box, `line` is 0.
    """
    if len(row) != count:
        raise UserError(
            f"{where}: the row must have {count} values, like the first line (got {len(row)})"
        )
    name, *texts = (row[index].strip() for index in columns)
    if not name:
        raise UserError(
            f"{where}: the name is empty; write the picture's path, relative to data.path"
        )
    numbers = []
    for column, text in zip(COLUMNS[1:], texts, strict=True):
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"{where}: {column} must be a number of pixels (got {text!r})")
        if column in ("width", "height") and number <= 0:
            raise UserError(f"{where}: {column} must be above 0 (got {number:g})")
        numbers.append(number)
    x, y, width, height = numbers
    return name, Box(x, y, width, height, line=0)


def _require_inside(box: Box, width: int, height: int, name: str, path: Path) -> None:
    right, bottom = box.x + box.width, box.y + box.height
    inside = min(box.x, box.y) >= -_OUTSIDE
    if not (inside and right <= width + _OUTSIDE and bottom <= height + _OUTSIDE):
        raise UserError(
            f"{path}, line {box.line}: the box (x {box.x:g} to {right:g}, y {box.y:g} to "
            f"{bottom:g}) must lie inside {printable(name)}, which has {width} x {height} px. "
            "Check that the box belongs to this picture and was measured at this size"
        )


def _interval(centre: float, side: float, length: int) -> tuple[int, int]:
    """Return the start and end of an interval around `centre`, in whole pixels.

    The interval is `side` long, but at most `length`. It is moved to lie between 0 and `length`.
    """
    size = max(1, min(round(side), length))
    start = min(max(round(centre - size / 2), 0), length - size)
    return start, start + size
