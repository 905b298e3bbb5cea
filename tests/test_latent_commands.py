"""The commands for a trained generator: what they write, and what they refuse."""

import json
from pathlib import Path

import pytest
import tiny
from command_line import call
from latent_checkpoints import tiny_checkpoint
from PIL import Image
from safetensors.numpy import load_file


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with generators and pictures."""
    place = tmp_path_factory.mktemp("place")
    (place / "pictures").mkdir()
    tiny.write_pictures(place / "pictures", 3)
    for run, section in {
        "demo": {},
        "dcgan": {"architecture": "dcgan", "dcgan_width": 4, "dcgan_depth": 3},
    }.items():
        checkpoint = place / "runs" / run / "best" / "checkpoint"
        checkpoint.mkdir(parents=True)
        tiny_checkpoint(checkpoint, place / "pictures", **section)
    return place


def test_an_inversion_says_how_near_it_came(place, tmp_path, capsys):
    command = ("invert", place / "runs/demo", place / "pictures", "--embedded", "--steps", 2)
    assert call(*command, "--json", "--out", tmp_path) == 0
    inversions = json.loads(capsys.readouterr().out)
    assert list(inversions) == ["0.PNG", "1.PNG", "2.PNG"]
    assert set(inversions["0.PNG"]) == {"start", "distance", "mse"}
    assert load_file(tmp_path / "latents.safetensors")["0.PNG"].shape == (8,)


def test_a_video_has_the_requested_frames(place, tmp_path):
    video = tmp_path / "new" / "walk.gif"
    assert call("interpolate", place / "runs/demo", "--frames", 7, "--loop", "--out", video) == 0
    with Image.open(video) as opened:
        assert opened.size == (32, 32) and opened.n_frames == 7


def test_all_neighbours_are_printed(place, tmp_path, capsys):
    more = tiny.write_pictures(tmp_path, 9)
    command = ("neighbours", place / "runs/demo", "--embedded", "--seeds", "0", "--data", more)
    assert call(*command, "--count", 7, "--out", tmp_path / "n.png") == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("seed 0: ") and line.count(", ") == 6


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            ("sample", "--seeds", "0-99999"),
            "pictures of 32 x 32 px are too many for one grid",
        ),
        (("mix", "--rows", "0-999", "--columns", "0-999"), "choose fewer --rows and --columns"),
        (("neighbours", "--seeds", "0-9999", "--count", "64"), "or a lower --count"),
    ],
)
def test_a_grid_that_no_memory_holds_is_refused(place, capsys, command, expected):
    name, *words = command
    assert call(name, place / "runs/demo", *words) == 2
    assert expected in " ".join(capsys.readouterr().err.split())


def test_counts_agree_with_their_nouns(place, tmp_path, capsys):
    assert call("sample", place / "runs/demo", "--seeds", "3", "--out", tmp_path / "x.png") == 0
    assert capsys.readouterr().out.startswith("1 picture written to")
    mix = ("mix", place / "runs/demo", "--rows", "1", "--columns", "2")
    assert call(*mix, "--out", tmp_path / "m.png") == 0
    assert capsys.readouterr().out.startswith("1 row of 1 mixture written to")


BAD = {
    "one stop": (("interpolate", "--seeds", "3"), "at least 2"),
    "more stops than frames": (("interpolate", "--frames", "3"), "4 seeds, 3 frames"),
    "another video": (("interpolate", "--out", "x.avi"), ".gif or .mp4"),
    "rows": (("mix", "--rows", "x"), "--rows"),
    "another picture": (("mix", "--out", "x.jpg"), ".png"),
    "a folder for a picture": (("mix", "--out", "folder.png"), "it is a folder"),
    "no skips": (("mix", "runs/dcgan"), "dcgan"),
    "no picture": (("invert", "runs/demo", "nowhere.png"), "no such file or folder"),
    "not there": (("neighbours", "--data", "nowhere"), "nowhere"),
    "already exists": (("export", "--out", "pictures"), "already exists"),
    "too small": (("export", "--to", "published", "--out", "x.pth"), "model.resolution"),
    "a file for a folder": (("sample", "--out", "pictures/0.PNG/x.png"), "cannot be written"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_message_and_status_2(case, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    Path("folder.png").mkdir(exist_ok=True)
    (name, *words), expected = BAD[case]
    arguments = words if words[0].startswith("runs/") else ["runs/demo", *words]
    assert call(name, *arguments) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert expected in message and "Traceback" not in message
