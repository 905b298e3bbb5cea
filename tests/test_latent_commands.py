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
        "stylegan2": {"architecture": "stylegan2", "ngf": 1},
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


def test_several_walks_are_shown_at_once(place, tmp_path, capsys):
    command = ("interpolate", place / "runs/demo", "--frames", 4, "--out", tmp_path / "walk.gif")
    assert call(*command, "--grid", "3x2") == 0
    assert capsys.readouterr().out.startswith("wrote 4 frames with 6 tiles each to ")
    with Image.open(tmp_path / "walk.gif") as opened:
        assert opened.size == (3 * 34 - 2, 2 * 34 - 2) and opened.n_frames == 4


@pytest.mark.parametrize("options", [(), ("--which", "last")])
def test_neighbours_by_a_perceptual_distance(place, tmp_path, capsys, options):
    command = ("neighbours", place / "runs/demo", "--embedded", "--by", "lpips", "--seeds", "0-1")
    assert call(*command, "--count", 2, "--json", "--out", tmp_path / "n.png", *options) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [len(sample["neighbours"]) for sample in answer["samples"]] == [2, 2]
    assert 0 < answer["too_near_below"] <= 1
    with Image.open(tmp_path / "n.png") as grid:
        assert grid.size == (3 * 34 - 2, 2 * 34 - 2)


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
        (("mix", "--rows", "0-999", "--columns", "0-999"), "give fewer --rows and --columns"),
        (("neighbours", "--seeds", "0-9999", "--count", "64"), "or a lower --count"),
    ],
)
def test_a_grid_that_no_memory_holds_is_refused(place, capsys, command, expected):
    name, *words = command
    assert call(name, place / "runs/demo", *words) == 2
    assert expected in " ".join(capsys.readouterr().err.split())


def test_counts_agree_with_their_nouns(place, tmp_path, capsys):
    assert call("sample", place / "runs/demo", "--seeds", "3", "--out", tmp_path / "x.png") == 0
    assert capsys.readouterr().out.startswith("wrote 1 picture to ")
    mix = ("mix", place / "runs/demo", "--rows", "1", "--columns", "2")
    assert call(*mix, "--out", tmp_path / "m.png") == 0
    assert capsys.readouterr().out.startswith("wrote 1 row of 1 mixed picture to ")


def test_stylegan2_mixes_and_walks(place, tmp_path):
    mix = ("mix", place / "runs/stylegan2", "--rows", "1", "--columns", "2,3")
    assert call(*mix, "--out", tmp_path / "m.png") == 0
    video = tmp_path / "walk.gif"
    walk = ("interpolate", place / "runs/stylegan2", "--frames", 4, "--out", video)
    assert call(*walk) == 0 and video.stat().st_size


BAD = {
    "one stop": (("interpolate", "--seeds", "3"), "at least 2"),
    "more stops than frames": (("interpolate", "--frames", "3"), "4 seeds, 3 frames"),
    "uneven walks": (
        ("interpolate", "--grid", "2x2", "--seeds", "0-6"),
        "(got 7 seeds, 60 frames)",
    ),
    "no seeds to walk": (("interpolate", "--grid", "2x2", "--seeds", "0-3"), "4 tiles of --grid"),
    "another grid": (("interpolate", "--grid", "3"), "COLUMNSxROWS, e.g. 4x2"),
    "a grid too large": (("interpolate", "--grid", "10x10"), "at most 64 tiles (got 10x10)"),
    "no film": (("evolve", "--fps", "2"), "has 0 sample grids, but a video needs at least 2; give"),
    "a film of another kind": (("evolve", "--out", "x.png"), ".gif or .mp4"),
    "another distance": (("neighbours", "--by", "ssim"), "is not one of 'features',"),
    "another video": (("interpolate", "--out", "x.avi"), ".gif or .mp4"),
    "rows": (("mix", "--rows", "x"), "--rows"),
    "another picture": (("mix", "--out", "x.jpg"), ".png"),
    "a folder for a picture": (("mix", "--out", "folder.png"), "it is a folder"),
    "no skips": (("mix", "runs/dcgan"), "dcgan"),
    "truncation": (("sample", "runs/stylegan2", "--truncation", "0.7"), "must be 1"),
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
