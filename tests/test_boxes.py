"""Pictures cropped by boxes: the crop by hand, what trainings and metrics see, bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastgan_ray.config.data import DataConfig
from fastgan_ray.data.boxes import Box, crop_of
from fastgan_ray.data.cached_array import load_images
from fastgan_ray.data.remarks import remarks
from fastgan_ray.data.source import open_source
from fastgan_ray.data.survey import inventory, survey
from fastgan_ray.errors import UserError

pytestmark = pytest.mark.usefixtures("empty_cache")
HEADER = "name,x,y,width,height\n"
ROWS = ("sub/a.png,10,20,20,10", "b.png,0,0,30,40")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of 60 x 50 px; each pixel has its position as its colour."""
    path = tmp_path / "pictures"
    (path / "sub").mkdir(parents=True)
    rows, columns = np.mgrid[:50, :60].astype(np.uint8)
    for name, blue in (("sub/a.png", 0), ("b.png", 200)):
        pixels = np.stack([columns, rows, np.full_like(rows, blue)], axis=2)
        Image.fromarray(pixels).save(path / name)
    return path


def config(folder: Path, *rows: str, text: str | None = None, **options: object) -> DataConfig:
    boxes = folder.parent / "boxes.csv"
    boxes.write_text(HEADER + "\n".join(rows) + "\n" if text is None else text)
    return DataConfig.model_validate({"path": str(folder), "boxes": str(boxes), **options})


@pytest.mark.parametrize(
    ("box", "padding", "crop"),
    [
        ((40, 50, 20, 10), 0.0, (40, 45, 60, 65)),
        ((40, 50, 20, 10), 0.5, (35, 40, 65, 70)),
        ((0, 50, 20, 10), 0.5, (0, 40, 30, 70)),  # moved to the right
        ((80, 92, 20, 8), 0.5, (70, 70, 100, 100)),  # moved to the left and up
        ((0, 0, 100, 100), 0.25, (0, 0, 100, 100)),  # larger than the picture
        ((0, 40, 100, 1), 0.0, (0, 0, 100, 100)),
        ((50.5, 50.5, 0.2, 0.2), 0.0, (50, 50, 51, 51)),  # at least one pixel
    ],
)
def test_the_crop_is_the_square_around_the_box_inside_the_picture(box, padding, crop):
    assert crop_of(Box(*box, line=2), padding, 100, 100) == crop


def test_a_square_that_is_higher_than_the_picture_is_cut_off():
    assert crop_of(Box(20, 5, 30, 10, line=2), 0.0, 100, 20) == (20, 0, 50, 20)


def test_every_reader_sees_the_crop(folder):
    settings = config(folder, *ROWS)
    source = open_source(settings)
    assert source.names == ("b.png", "sub/a.png")
    first, second = (np.asarray(source.read(index)) for index in range(2))
    # The box of 20 x 10 at (10, 20) has its centre at (20, 25): 25 px around it.
    left, top, right, bottom = source.pictures[1].crop
    assert (right - left, bottom - top) == (25, 25) and abs(left - 7.5) <= 0.5
    assert second.shape == (25, 25, 3) and tuple(second[0, 0]) == (left, top, 0)
    assert first.shape == (50, 50, 3)  # 1.25 x 40 px
    assert source.pictures[1].facts.width == 25
    images = load_images(source, settings, (25, 25))
    assert np.array_equal(images[1], second)


def test_the_digest_names_the_crops_and_whole_pictures_keep_theirs(folder):
    whole = open_source(DataConfig(path=str(folder)))
    digests = {
        whole.digest,
        open_source(config(folder, *ROWS)).digest,
        open_source(config(folder, *ROWS, padding=0.5)).digest,
        open_source(config(folder, ROWS[0], "b.png,1,1,20,20")).digest,
    }
    assert len(digests) == 4
    again = open_source(config(folder, *reversed(ROWS), padding=0.5))
    assert again.digest in digests


def test_a_picture_without_a_box_is_an_error_or_left_out_and_said(folder):
    Image.new("RGB", (20, 20)).save(folder / "c.png")
    with pytest.raises(UserError, match=r"(?s)1 of 3 pictures have no box in .*c\.png.*skip"):
        open_source(config(folder, *ROWS))
    lenient = config(folder, *ROWS, on_bad_image="skip")
    source = open_source(lenient)
    assert len(source) == 2
    (line,) = remarks(source, lenient, (20, 20))
    assert "1 picture without a box in" in line and line.endswith("is left out: c.png")
    (row,) = (row for row in inventory(survey(lenient)) if row["name"] == "c.png")
    assert not row["is_used"] and row["reason"] == "no box in data.boxes"


def test_names_that_fit_no_picture_are_said(folder):
    source = open_source(config(folder, *ROWS, "d.png,1,1,5,5"))
    (note,) = source.notes
    assert " has 1 row for names that are not in the data: d.png" in note and note.endswith("d.png")
    with pytest.raises(UserError, match=r"the path of each picture, relative to data\.path"):
        open_source(config(folder, "a.png,1,1,5,5"))


def test_columns_in_any_order_and_other_columns(folder):
    text = "\ufefflabel,height,width,y,x,name\r\nred,10,20,20,10,sub/a.png\r\n\r\n"
    lenient = config(folder, text=text + "x,40,30,0,0,b.png\r\n")
    assert open_source(lenient).digest == open_source(config(folder, *ROWS)).digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the header must name each of the columns name, x, y, width, height once"),
        ("name,x,y,width\na.png,1,1,1\n", r"line 1: .* \(missing or repeated: height\)"),
        (HEADER, "has no boxes; add a row"),
        (
            HEADER + "b.png,1,1,5\n",
            r"line 2: the row must have 5 values, like the first line \(got 4\)",
        ),
        (HEADER + ROWS[0] + "\nb.png,1,one,5,5\n", r"line 3: y must be a number .*got 'one'"),
        (HEADER + "b.png,1,nan,5,5\n", "line 2: y must be a number"),
        (HEADER + "b.png,1,1,0,5\n", r"line 2: width must be above 0 \(got 0\)"),
        (HEADER + ",1,1,5,5\n", "line 2: the name is empty"),
        (HEADER + ROWS[1] + "\n" + ROWS[1] + "\n", r"line 3: b\.png already has a box in line 2"),
        (HEADER + ROWS[0] + "\nb.png,1,1,62,40\n", r"line 3: the box .* 60 x 50 px"),
        (HEADER + ROWS[0] + "\nb.png,-5,1,6,4\n", r"line 3: the box \(x -5 to 1"),
        (HEADER + '"b.png,1\n', "line 2: not valid CSV"),
    ],
)
def test_a_bad_row_is_an_error_with_file_and_line(folder, text, message):
    with pytest.raises(UserError, match=message) as caught:
        open_source(config(folder, text=text, on_bad_image="skip"))
    assert str(folder.parent / "boxes.csv") in str(caught.value)


@pytest.mark.parametrize("content", [None, b"name,x\xff"])
def test_a_file_that_cannot_be_read(folder, content):
    settings = config(folder, *ROWS)
    path = folder.parent / "boxes.csv"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"data\.boxes: cannot read .* It must be a CSV file in UTF-8"
    ):
        open_source(settings)
