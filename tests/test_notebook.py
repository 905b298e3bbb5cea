"""The notebook in examples/: without outputs, and every cell runs, in order, in one namespace."""

import json
import shlex

import numpy as np
import pytest
import tiny
from command_line import call
from documentation import ROOT
from PIL import Image

from fastgan_ray.tune.ray.session import connected

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
STEPS = ("Install", "Pictures", "Train", "Look", "Sample", "Search", "Export")
# What the cells with the tag "parameters" are made smaller by.
SMALL = {"settings": tiny.SETTINGS, "search": {"run_cap": 2, "method": "random"}}


def cells(kind):
    every = json.loads(NOTEBOOK.read_text())["cells"]
    return [cell for cell in every if cell["cell_type"] == kind]


def test_the_notebook_is_stripped_and_has_the_steps_that_a_reader_expects():
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["metadata"]["language_info"]["name"]) == (4, "python")
    for cell in cells("code"):
        assert cell["outputs"] == [] and cell["execution_count"] is None
    text = "".join("".join(cell["source"]) for cell in cells("markdown"))
    places = [text.index(f"## {step}") for step in STEPS]
    assert places == sorted(places)


def test_the_notebook_continues_with_arguments_that_may_be_given_together():
    (says,) = (
        "".join(cell["source"]) for cell in cells("markdown") if "## Train" in cell["source"][0]
    )
    (trains,) = ("".join(cell["source"]) for cell in cells("code") if "run_training" in str(cell))
    assert "overwrite=True" in trains  # run_training refuses resume=True beside it
    assert "`resume=True` in place of `overwrite=True`" in says


def run(cell, names):
    """Run a cell as a notebook does, but install nothing; return the value of its last line."""
    lines = "".join(cell["source"]).splitlines()
    for line in [line for line in lines if line.startswith(("!", "%"))]:
        program, *words = shlex.split(line[1:].format(**names))
        assert program in ("fastgan-ray", "pip"), line
        if program == "fastgan-ray":
            assert call(*words) == 0, line
    code = "\n".join(line for line in lines if not line.startswith(("!", "%")))
    exec(compile(code, str(NOTEBOOK), "exec"), names)  # our own notebook
    if "parameters" in cell["metadata"].get("tags", ()):
        for name in SMALL.keys() & names.keys():
            names[name].update(SMALL[name])


@pytest.mark.timeout(600)
# A notebook shows the picture of a cell's last line; here nobody closes it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.slow
def test_every_cell_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    tiny.write_pictures(tmp_path / "pictures", 6)
    names: dict = {}
    with connected(None):
        for cell in cells("code"):
            run(cell, names)
    assert names["pictures"] == "pictures" and names["training"].best.value > 0
    assert names["drawn"].shape == (8, 32, 32, 3) and names["drawn"].dtype == np.uint8
    assert len(names["files"]) == 8 and len(names["found"].trials) == 2
    for picture in ("grid.png", "best.png", "walk.gif"):
        with Image.open(tmp_path / picture) as image:
            assert min(image.size) >= 32
    assert names["again"].sample([1]).shape == (1, 32, 32, 3)
