"""data.html in Chromium: it loads nothing, fits a desk and a phone, and its table sorts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from command_line import call
from pages import DESK, PHONE, requests, screenshot, show

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def data_page(tmp_path_factory):
    """The page of a folder with copies, noise, two kinds of clouds and hostile names."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for index in range(20):
        colours = rng.integers(0, 80, (4, 4, 3)) + (0 if index < 12 else 170)
        cloud = Image.fromarray(colours.astype(np.uint8)).resize((64, 64 if index % 2 else 96))
        cloud.save(folder / f"{index:02}.png")
    (folder / "copy of a picture with a long name, which is cut.png").write_bytes(
        (folder / "03.png").read_bytes()
    )
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / "noise.png")
    (folder / "<script>alert(1)<!-- .txt").write_text("x")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    page = tmp_path_factory.mktemp("page") / "data.html"
    assert call("data", folder, "--out", page) == 0
    return page


@pytest.mark.parametrize(("width", "scheme"), [(DESK, "light"), (DESK, "dark"), (PHONE, "light")])
def test_it_shows_without_an_error_or_a_request_and_fits(
    chromium, data_page, pictures, width, scheme
):
    show(chromium, data_page, width, scheme)
    assert requests(chromium) == [data_page.as_uri()]
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
    broken = "return [...document.images].filter((image) => !image.naturalWidth).length"
    assert chromium.execute_script(broken) == 0
    screenshot(chromium, pictures / f"data-{width}-{scheme}.png")
    assert chromium.get_log("browser") == []


def test_files_that_are_not_used_come_first_and_a_click_sorts(chromium, data_page):
    show(chromium, data_page)
    names = (
        "return [...document.querySelectorAll('table.sortable tbody tr')]"
        ".map((row) => row.cells[0].textContent)"
    )
    before = chromium.execute_script(names)
    assert before[:2] == ["<script>alert(1)<!-- .txt", "broken.jpg"] and len(before) == 24
    heads = chromium.find_elements("css selector", "table.sortable thead button")
    heads[4].click()
    values = chromium.execute_script(names.replace("cells[0]", "cells[4]"))
    sizes = [int(value) for value in values if value]
    assert sizes == sorted(sizes) and len(sizes) == 23
    assert chromium.get_log("browser") == []


def test_a_hostile_name_runs_nothing(chromium, data_page):
    show(chromium, data_page)
    assert len(chromium.find_elements("tag name", "script")) == 1
    assert "<script>alert(1)<!-- .txt" in chromium.find_element("css selector", "#files").text
