"""`fastgan-ray data FOLDER`: what it finds, prints, writes and suggests."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import call
from encoded_pictures import encode
from PIL import Image, ImageOps
from test_data_kinds import no_heif, others_of_every_kind, pictures_of_every_kind, write

from fastgan_ray.config.data import DataConfig
from fastgan_ray.data.resolution import common_aspect, justified_resolution
from fastgan_ray.data.source import open_source
from fastgan_ray.data.survey import inventory, survey
from fastgan_ray.report.data.pictures import picture_facts
from fastgan_ray.report.data.suggestion import choices, suggested_file
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import base_config

ROOT = Path(__file__).parents[1]


def cloud(seed: int, size: tuple[int, int] = (40, 40)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve clouds, one of them twice, one again as a JPEG, noise, a text and damaged bytes."""
    folder = tmp_path_factory.mktemp("pictures") / "my <b>pictures</b>"
    files = {f"{n:02}.png": encode(cloud(n)) for n in range(12)}
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    return write(
        folder,
        files
        | {
            "copy.png": files["03.png"],
            "again.jpg": encode(cloud(5), "JPEG", quality=90),
            "noise.png": encode(Image.fromarray(noise)),
            "notes.txt": b"x",
            "broken.jpg": b"\xff\xd8\xff junk",
        },
    )


@pytest.fixture(scope="module")
def results(folder, tmp_path_factory):
    """The folder of data.html and search.yaml, and the facts."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out)
        printed = io.StringIO()
        patch.setattr("sys.stdout", printed)
        assert call("data", folder, "--write", "search.yaml", "--json") == 0
    return out, json.loads(printed.getvalue())


def test_every_file_of_a_folder_of_all_kinds_has_a_row(tmp_path, monkeypatch):
    no_heif(monkeypatch)
    files = pictures_of_every_kind() | others_of_every_kind()
    write(tmp_path / "data", files)
    rows = {row["name"]: row for row in inventory(survey(DataConfig(path=str(tmp_path / "data"))))}
    hidden = {".git/a.png": ".git", "__MACOSX/._a.png": "__MACOSX"}
    assert rows.keys() == {hidden.get(name, name) for name in files}
    assert {name for name, row in rows.items() if row["is_used"]} == pictures_of_every_kind().keys()
    assert rows["no-suffix"] | {"bytes": 0} == {
        "name": "no-suffix",
        "kind": "PNG",
        "bytes": 0,
        "width": 16,
        "height": 16,
        "mode": "colour",
        "profile": "",
        "is_used": True,
        "reason": "",
    }
    assert all(row["reason"] for row in rows.values() if not row["is_used"])
    assert rows["e.pgm"]["mode"] == "grey" and rows["e.pgm"]["kind"] == "PPM"


def test_the_facts_of_a_folder(results):
    _, facts = results
    assert facts["pictures"] == 15 and len(facts["files"]) == 17
    assert facts["kinds"] == {"PNG": 14, "JPEG": 1} and facts["modes"] == {"colour": 15}
    assert facts["resolution"]["value"] == 32 and facts["aspect"]["value"] == "1:1"
    assert facts["copies"] == [["03.png", "copy.png"]]
    assert facts["unreadable"][0].startswith("broken.jpg: is damaged")
    names = [row["name"] for row in facts["files"] if row["is_used"]]
    assert names[facts["compared"]["outliers"][0]] == "noise.png"
    near = [{names[index] for index in pair["indices"]} for pair in facts["compared"]["near"]]
    assert {"05.png", "again.jpg"} in near and {"03.png", "copy.png"} not in near
    halves = facts["compared"]["halves"]
    assert halves["half"] == 7 and halves["fd"] > 0 and halves["fd_sd"] > 0
    assert sum(len(group) for group in facts["compared"]["clusters"]) == 15


def test_the_page_is_one_file_that_shows_it_all(results, folder):
    page = (results[0] / "data.html").read_text()
    assert "my &lt;b&gt;pictures&lt;/b&gt;" in page and "<b>pictures" not in page
    for text in (
        "15 pictures can be used. They are large enough for a resolution of 32 px.",
        "1 file was not read: 1 .txt",
        "03.png = copy.png",
        "broken.jpg: is damaged or incomplete",
        "Two random halves of your pictures (7 against 7)",
        "noise.png",
        "data.on_bad_image",
    ):
        assert text in page, text
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    images = re.findall(r"data:image/webp;base64,([^\"]+)", page)
    assert len(images) >= 3 and all(
        Image.open(io.BytesIO(base64.b64decode(data))).size == (40, 40) for data in images
    )
    assert all(row["name"].replace("&", "&amp;") in page for row in results[1]["files"])


def test_without_a_gpu_the_suggested_search_is_that_of_the_preset(folder):
    facts, _ = picture_facts(DataConfig(path=str(folder), on_bad_image="skip"))
    suggested = yaml.safe_load(suggested_file(facts, str(folder), has_gpu=False))
    preset = yaml.safe_load((ROOT / "search_spaces" / "own_pictures_cpu.yaml").read_text())
    del preset["base"]["model"]["resolution"]  # depends on the pictures
    for key in ("method", "metric", "run_cap", "budget", "confirm", "parameters"):
        assert suggested[key] == preset[key], key
    for section in ("model", "train", "eval"):
        assert suggested["base"][section].items() >= preset["base"][section].items(), section


def test_the_suggested_file_can_be_checked(results, folder, capsys):
    file = results[0] / "search.yaml"
    assert call("check", file) == 0
    printed = capsys.readouterr().out
    assert "the file is valid" in printed and "15 pictures in" in printed
    config = base_config(spec_from_text(file.read_text(), "search.yaml"))
    assert config.data.path == str(folder) and config.data.on_bad_image == "skip"
    assert config.model.resolution == 32
    assert "# 100% of the pictures are at least as large as 32 px" in file.read_text()


def test_the_suggested_file_has_the_given_settings_of_the_pictures():
    """The facts are of these pictures, e.g. of crops."""
    given = {"data.fit": "crop", "data.flip": 0.0}
    spec = spec_from_text(suggested_file(facts(), "pictures", False, given), "search.yaml")
    config = base_config(spec)
    assert (config.data.fit, config.data.flip) == ("crop", 0.0)


@pytest.mark.parametrize(
    ("path", "name"), [("_faces", "faces"), ("x" * 300, "x" * 100), ("...", "pictures")]
)
def test_every_folder_gives_a_name_that_is_allowed(path, name):
    assert spec_from_text(suggested_file(facts(), path, False), "search.yaml").name == name


def test_a_file_that_exists_is_not_replaced(results, folder, capsys):
    before = (results[0] / "search.yaml").read_text()
    assert call("data", folder, "--write", results[0] / "search.yaml") == 2
    assert "search.yaml already exists" in capsys.readouterr().err
    assert (results[0] / "search.yaml").read_text() == before


def test_check_says_the_two_lines_that_matter(results, folder, tmp_path, capsys, monkeypatch):
    file = results[0] / "search.yaml"
    assert call("check", file, "--json") == 0
    (data,) = json.loads(capsys.readouterr().out)["data"]
    sizes, metric = data["advice"]
    assert sizes.startswith("sizes: at least 90% of the pictures need no enlargement at 32 px")
    assert (
        metric.startswith("metric: differences below ")
        and "(7 against 7), these metrics are " in metric
    )
    assert "in fd_efficientnet_lite0, or below" in metric
    assert call("check", file) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert sizes in printed and metric in printed
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(tmp_path / "cache"))
    assert call("check", file) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        f"`fastgan-ray data {folder}` measures how small a difference the metric can show with 15 "
        "pictures" in printed
    )


def test_it_prints_the_facts(folder, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert call("data", folder, "--out", page) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{folder}: 15 pictures can be used.")
    for text in (
        *(
            "kinds: 14 PNG, 1 JPEG",
            "colours: 15 colour",
            "smallest: 40 x 40 (",
            "largest: 40 x 40 (",
        ),
        *("median of the shorter side: 40 px", "near duplicates: ", "groups of similar pictures: "),
        *("model.resolution = 32: ", f"Page: {page}"),
    ):
        assert text in printed
    assert page.is_file()


def test_too_few_pictures_are_still_accounted_for(tmp_path, capsys):
    write(tmp_path / "data", {"a.png": encode(cloud(0)), "b.png": b"junk", "c.txt": b"x"})
    page = tmp_path / "page.html"
    assert call("data", tmp_path / "data", "--out", page) == 2
    printed = capsys.readouterr().out
    assert "1 picture can be used, too few for a training." in printed
    assert "at least 2 usable pictures are needed, but got 1 of 2" in printed
    assert all(name in page.read_text() for name in ("a.png", "b.png", "c.txt"))
    file = tmp_path / "s.yaml"
    assert call("data", tmp_path / "data", "--out", page, "--write", file) == 2
    assert "--write: " in capsys.readouterr().err and not file.exists()


def test_a_picture_again_compressed_smaller_or_mirrored_is_a_near_duplicate(tmp_path):
    picture = cloud(3, (96, 96))
    again = {
        "compressed.jpg": encode(picture, "JPEG", quality=60),
        "mirrored.png": encode(ImageOps.mirror(picture)),
        "smaller.png": encode(picture.resize((64, 64))),
    }
    others = {f"{n:02}.png": encode(cloud(n, (96, 96))) for n in range(12)}
    facts, source = picture_facts(DataConfig(path=str(write(tmp_path / "data", others | again))))
    names = source.names
    near = [{names[index] for index in pair["indices"]} for pair in facts["compared"]["near"]]
    assert all({"03.png", name} in near for name in again), near
    assert set().union(*near) == {"03.png", *again}


def test_pictures_below_every_resolution_justify_none(tmp_path, capsys):
    sizes = [(64, 64)] * 8 + [(20, 20)] * 2
    write(tmp_path / "data", {f"{n}.png": encode(cloud(n, s)) for n, s in enumerate(sizes)})
    file = tmp_path / "search.yaml"
    options = ("--out", tmp_path / "page.html", "--write", file)
    assert call("data", tmp_path / "data", *options) == 0
    words = "Only 80% of them have at least 32 px, the lowest resolution that can be trained."
    assert f"10 pictures can be used. {words}" in capsys.readouterr().out
    assert words in (tmp_path / "page.html").read_text()
    assert call("check", file) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "sizes: only 80% of the pictures need no enlargement at 32 px, the lowest" in printed


def test_three_pictures_have_no_halves(tmp_path, capsys):
    write(tmp_path / "data", {f"{n}.png": encode(cloud(n)) for n in range(3)})
    assert call("data", tmp_path / "data", "--out", tmp_path / "page.html") == 0
    assert "too few pictures to compare two halves" in capsys.readouterr().out


def test_a_named_set_a_wrong_path_and_options_without_a_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("data", "nowhere") == 2
    assert "nowhere" in capsys.readouterr().err
    assert call("data", "--write", "s.yaml") == 2
    assert "--write and --set need FOLDER" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert call("data", "matcaps", "--out", "file/page.html") == 2
    assert "--out: file/page.html cannot be written" in capsys.readouterr().err
    assert call("data", "matcaps", "--out", "page.html") == 0
    assert capsys.readouterr().out.startswith("matcaps: 284 pictures can be used.")
    page = Path("page.html").read_text()
    assert "<title>matcaps: pictures</title>" in page and ".zip" not in page
    Path("page.html").unlink()
    assert call("data") == 0
    assert "fluent-heads" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["file"]


# --- the resolution, the proportions and the suggestion ----------------------------------------


def sized(tmp_path: Path, sizes: list[tuple[int, int]]) -> DataConfig:
    write(tmp_path, {f"{n}.png": encode(cloud(n, size)) for n, size in enumerate(sizes)})
    return DataConfig(path=str(tmp_path))


@pytest.mark.parametrize(
    ("sizes", "aspect", "expected"),
    [
        ([(256, 256)] * 10, "1:1", 256),
        ([(255, 300)] * 10, "1:1", 128),
        ([(300, 300)] * 9 + [(20, 20)], "1:1", 256),
        ([(300, 300)] * 8 + [(20, 20)] * 2, "1:1", 32),
        ([(8, 8)] * 4, "1:1", 32),
        ([(128, 256)] * 4, "1:2", 128),
        ([(128, 200)] * 4, "1:2", 64),
        ([(1100, 1100)] * 2, "1:1", 1024),
    ],
)
def test_the_resolution_that_the_sizes_justify(tmp_path, sizes, aspect, expected):
    config = sized(tmp_path / "data", sizes)
    assert justified_resolution(open_source(config).pictures, config, aspect) == expected


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(40, 60)] * 8 + [(40, 40)] * 2, ("2:3", 0.8)),
        ([(40, 60)] * 7 + [(40, 40)] * 3, ("1:1", 0.3)),
        ([(80, 45)] * 5, ("7:4", 1.0)),
        ([(41, 40)] * 5, ("1:1", 1.0)),
    ],
)
def test_the_proportions_that_most_pictures_have(tmp_path, sizes, expected):
    source = open_source(sized(tmp_path / "data", sizes))
    assert common_aspect(source.pictures) == expected


def facts(**changes):
    return {
        "pictures": 50,
        "unreadable": [],
        "modes": {"colour": 50},
        "transparent": 0,
        "resolution": {"value": 512, "share": 0.96, "needed": 0.9},
        "aspect": {"value": "1:1", "share": 0.9},
        "compared": {"halves": {"has_direction": False}},
    } | changes


@pytest.mark.parametrize("has_gpu", [False, True])
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"data.flip": 0.5}),
        ({"compared": {"halves": {"has_direction": True}}}, {"data.flip": 0.0}),
        ({"compared": {"halves": None}}, {"data.flip": 0.5}),
        ({"modes": {"grey": 40, "grey, 16 bits": 10}}, {"data.mode": "grey"}),
        ({"modes": {"grey": 49, "colour": 1}}, {"data.mode": "rgb"}),
        ({"transparent": 26}, {"data.mode": "rgba"}),
        ({"transparent": 25}, {"data.mode": "rgb"}),
        ({"unreadable": ["a: b"]}, {"data.on_bad_image": "skip"}),
        ({"aspect": {"value": "2:3", "share": 0.9}}, {"model.aspect": "2:3"}),
    ],
)
def test_each_suggestion_has_a_reason_and_the_file_loads(has_gpu, changes, expected):
    known = facts(**changes)
    text = suggested_file(known, "my: #pictures", has_gpu)
    spec = spec_from_text(text, "search.yaml")
    config = base_config(spec)
    for key, value in expected.items():
        section, field = key.split(".")
        assert getattr(getattr(config, section), field) == value
    assert config.data.path == "my: #pictures" and spec.name == "my-pictures"
    assert config.model.resolution == (512 if has_gpu else 64)
    for choice in choices(known, "x", has_gpu):
        assert choice.reason and choice.reason.split()[0] in text
