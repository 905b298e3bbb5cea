"""What is wrong with a set of pictures is said in a sentence, by every command that uses them."""

from __future__ import annotations

import io
import json
import zlib

import numpy as np
import pytest
import report_runs
import tiny
from colour_profiles import ADOBE_RGB, rgb_profile
from command_line import call
from encoded_pictures import encode
from PIL import Image
from rich.console import Console
from test_data_kinds import frames, opened, picture, sized, write, write_lmdb

from fastgan_ray.config.data import DataConfig
from fastgan_ray.config.run_file import dump_run_config
from fastgan_ray.data.decode import decode
from fastgan_ray.data.described import read_described
from fastgan_ray.data.inspection import inspect
from fastgan_ray.data.remarks import remarks
from fastgan_ray.errors import UserError
from fastgan_ray.report.data.run_folder import read_run
from fastgan_ray.report.page.sections import headline
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.tune.driver.results import SearchRecords
from fastgan_ray.tune.preflight import check_inputs

pytestmark = pytest.mark.usefixtures("empty_cache")

SEARCH = """
name: t
method: random
metric: {name: fd_efficientnet_lite0}
base:
  model: {nz: 8, ngf: 4, ndf: 4, decoder_width: 2}
  train: {total_kimg: 0.04, reconstruction: l1}
  eval: {extractor: efficientnet_lite0, num_fakes: 4, every_kimg: 0.02}
parameters: {model.resolution: {values: [32, 64]}}
"""
ABLATION = SEARCH.split("method")[0] + SEARCH.split("method: random")[1].split("parameters")[0]
ABLATION = ABLATION.replace("model: {", "model: {resolution: 32, ")
ABLATION += "baseline: plain\nseeds: 2\narms: {plain: {}, wide: {model.ngf: 8}}\n"


def said(path, side: int = 16, **options) -> list[str]:
    config = DataConfig(path=str(path), **options)
    return remarks(opened(path, **options), config, (side, side))


def cut_jpeg(**options) -> bytes:
    data = picture(3, "JPEG", **options)
    assert data[-2:] == b"\xff\xd9"
    return data[:-2]


def test_nothing_is_said_of_good_pictures(tmp_path):
    assert said(write(tmp_path, {f"{n}.png": picture(n) for n in range(5)})) == []
    assert said("fluent-heads", 256) == [] and said("matcaps", 128) == []


def test_a_limit_above_the_number_of_pictures_is_said(tmp_path):
    folder = write(tmp_path / "pictures", {f"{n}.png": picture(n) for n in range(5)})
    assert said(folder, limit=5) == [] and said(folder, limit=0.5) == []
    (sentence,) = said(folder, limit=5000)
    assert sentence == "data.limit is 5000, but there are only 5 pictures, so all of them are used"


def test_check_refuses_limits_with_which_arms_have_the_same_pictures(tmp_path, capsys):
    folder = write(tmp_path / "pictures", {f"{n}.png": picture(n) for n in range(5)})
    arms = "{plain: {data.limit: 9}, wide: {data.limit: 3}}"
    text = ABLATION.replace("{plain: {}, wide: {model.ngf: 8}}", arms)
    (tmp_path / "limits.yaml").write_text(text)
    assert call("check", tmp_path / "limits.yaml", "--data", folder) == 2
    printed = capsys.readouterr()
    assert "has 5 pictures, so a limit of 9 has no effect" in printed.err
    assert "its data cannot be used" in printed.out
    (tmp_path / "limits.yaml").write_text(text.replace("limit: 9", "limit: 4"))
    assert call("check", tmp_path / "limits.yaml", "--data", folder) == 0


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
def test_a_jpeg_without_its_end_is_used_and_named(tmp_path, options):
    good = {f"{n}.jpg": picture(n, "JPEG") for n in range(3)}
    whole = np.asarray(decode(picture(3, "JPEG", **options), "#ffffff"))
    for missing in (1, 2):
        cut = picture(3, "JPEG", **options)[:-missing]
        assert np.array_equal(np.asarray(decode(cut, "#ffffff")), whole)
    (sentence,) = said(write(tmp_path, {**good, "cut.jpg": cut_jpeg(**options)}))
    assert sentence == "1 file is cut off at the end, but no pixel is missing: cut.jpg"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_jpeg_that_lacks_a_pixel_is_refused(options):
    data = picture(0, "JPEG", **options)
    for length in range(len(data) - 3):
        with pytest.raises(UserError):
            decode(data[:length], "#ffffff")


def test_what_follows_the_end_of_a_jpeg_does_not_matter():
    data = picture(0, "JPEG")
    for tail in (b"", bytes(100), b"\xff\xda junk \xff\xe1\0", cut_jpeg()):
        assert inspect(data + tail, "first").warning == ""


def test_a_thumbnail_is_not_the_end_of_a_jpeg():
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + picture(1, "JPEG")
    data = picture(0, "JPEG", exif=exif)
    assert inspect(data, "first").warning == ""
    assert "cut off" in inspect(data[:-2], "first").warning


def test_a_png_without_its_end_is_named(tmp_path):
    data = picture(0)
    assert zlib.crc32(b"IEND").to_bytes(4, "big") == data[-4:]
    (sentence,) = said(write(tmp_path, {"a.png": data[:-12], "b.png": picture(1)}))
    assert sentence == "1 file is cut off at the end, but no pixel is missing: a.png"


def test_a_damaged_profile_is_named(tmp_path):
    broken = picture(0, icc_profile=rgb_profile(ADOBE_RGB, "x")[:200])
    (sentence,) = said(write(tmp_path, {"a.png": broken, "b.png": picture(1)}))
    assert (
        "1 file is read as sRGB, because the colour profile is damaged" in sentence
        and sentence.endswith(": a.png")
    )


@pytest.mark.parametrize(
    ("fit", "size", "factor"),
    [("squash", (4, 4), 16), ("squash", (32, 1), 64), ("crop", (32, 4), 16), ("pad", (16, 1), 4)],
)
def test_pictures_that_are_much_enlarged(tmp_path, fit, size, factor):
    good = {f"{n}.png": encode(Image.effect_noise((64, 64), 90)) for n in range(2)}
    small = encode(Image.new("RGB", size, "red"))
    (sentence,) = said(write(tmp_path / "data", {**good, "small.png": small}), 64, fit=fit)
    text = f"For the smallest, small.png ({size[0]} x {size[1]} px), the factor is {factor}. "
    assert sentence.startswith("1 of 3 pictures is enlarged by a factor of more than 2 to 64 px")
    assert text in sentence
    assert said(tmp_path / "data", round(64 / factor), fit=fit) == []


def test_copies_and_pictures_that_are_nearly_identical(tmp_path):
    folder = write(tmp_path / "copies", {f"{n}.png": picture(n % 4) for n in range(6)})
    (sentence,) = said(folder)
    assert (
        sentence
        == "2 of 6 pictures are exact copies of others; for example, 4.png is a copy of 0.png"
    )
    base = np.asarray(Image.open(io.BytesIO(picture(0))), np.int16)
    noise = np.random.default_rng(0)
    alike = {
        f"{n}.png": encode(
            Image.fromarray((base + noise.integers(-3, 4, base.shape)).clip(0, 255).astype("u1"))
        )
        for n in range(9)
    }
    (sentence,) = said(write(tmp_path / "alike", alike | {"other.png": picture(5)}))
    assert sentence.startswith("9 of 10 pictures look nearly identical")


def test_pages_that_are_not_used_are_counted(tmp_path):
    folder = write(tmp_path / "data", {"a.gif": frames(4, "GIF", 16), "b.png": picture(0)})
    (sentence,) = said(folder)
    assert sentence == (
        "1 file has several pages or frames, but only the first is used (a.gif); "
        "to use the 3 other frames, set data.frames: all"
    )
    assert said(folder, frames="all") == []


def test_what_was_not_read_is_counted_first(tmp_path):
    folder = write(tmp_path, {"a.png": picture(0), "b": picture(1), "c.txt": b"x", "d.jpg": b"x"})
    assert said(folder, on_bad_image="skip") == [
        "1 file was not read: 1 .txt",
        "1 file cannot be read and is left out: d.jpg",
    ]
    (sentence,) = said(write_lmdb(tmp_path / "lmdb", {**sized(32, 4), **sized(64, 2)}))
    assert "the LMDB is incomplete: it has 4 pictures at 32 px, but only 2 at 64 px" in sentence


# --- who says it -------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Four pictures of 16 px, one of them without its end, and a text."""
    files = {f"{n}.jpg": picture(n, "JPEG") for n in range(3)}
    return write(tmp_path / "data[b]", {**files, "cut.jpg": cut_jpeg(), "notes.txt": b"x"})


SENTENCES = [
    "1 file was not read: 1 .txt",
    "1 file is cut off at the end, but no pixel is missing: cut.jpg",
]
ENLARGED = "4 of 4 pictures are enlarged by a factor of more than 2 to 64 px"


@pytest.mark.parametrize("kind", ["search", "ablation", "run"])
def test_check_says_it(kind, folder, tmp_path, capsys):
    texts = {"search": SEARCH, "ablation": ABLATION, "run": dump_run_config(tiny.config())}
    (tmp_path / "file.yaml").write_text(texts[kind])
    assert call("check", tmp_path / "file.yaml", "--data", folder) == 0
    printed = " ".join(capsys.readouterr().out.split())
    expected = [*SENTENCES, ENLARGED] if kind == "search" else SENTENCES
    assert all(sentence in printed for sentence in expected), printed
    assert call("check", tmp_path / "file.yaml", "--data", folder, "--json") == 0
    (data,) = json.loads(capsys.readouterr().out)["data"]
    assert data["remarks"][:2] == SENTENCES and data["pictures"] == 4


def test_train_says_it_and_its_report_has_it(folder, tmp_path, capsys):
    (tmp_path / "run.yaml").write_text(dump_run_config(tiny.config()))
    command = ("train", "--config", tmp_path / "run.yaml", "--data", folder)
    assert call(*command, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert all(f"Pictures: {sentence}\n" in printed for sentence in SENTENCES)
    warnings = headline(read_run(tmp_path / "out"))["warnings"]
    assert [f"{folder}: {sentence}" for sentence in SENTENCES] == warnings[-2:]


def test_tune_and_ablate_say_it_and_the_summary_and_the_report_have_it(folder, tmp_path):
    run = report_runs.write_search(tmp_path / "runs" / "t")
    spec = spec_from_text(SEARCH, "t.yaml", {"data.path": str(folder)})
    config = tiny.config(**{"data.path": str(folder)})
    text = io.StringIO()
    examples = [config, tiny.config(**{"model.resolution": 64})]
    check_inputs([config], examples, run, False, Console(file=text, width=40))
    assert f"4 pictures in {folder}\n" in text.getvalue()
    assert all(f"  {sentence}\n" in text.getvalue() for sentence in SENTENCES)
    (data,) = read_described(run)
    assert data["pictures"] == 4 and data["path"] == str(folder)
    assert data["remarks"][:2] == SENTENCES and data["remarks"][2].startswith(ENLARGED)
    summary = SearchRecords(run, spec).publish([], over=False)
    assert summary["pictures"] == [data]
    assert json.loads((run / "summary.json").read_text())["pictures"] == [data]
    warnings = headline(read_run(run))["warnings"]
    assert [f"{folder}: {sentence}" for sentence in SENTENCES] == warnings[-3:-1]
