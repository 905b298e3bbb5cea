"""The commands for a trained generator: what they leave, and what they refuse."""

import json
from pathlib import Path

import pytest
import tiny
from latent_checkpoints import tiny_checkpoint
from PIL import Image
from safetensors.numpy import load_file

from fastgan_ray.cli.main import main


def call(*arguments: object) -> int:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


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
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["0.PNG", "1.PNG", "2.PNG"]
    assert set(found["0.PNG"]) == {"start", "distance", "mse"}
    assert load_file(tmp_path / "latents.safetensors")["0.PNG"].shape == (8,)


def test_a_film_has_the_frames_asked_for(place, tmp_path):
    film = tmp_path / "new" / "walk.gif"
    assert call("interpolate", place / "runs/demo", "--frames", 7, "--loop", "--out", film) == 0
    with Image.open(film) as opened:
        assert opened.size == (32, 32) and opened.n_frames == 7


BAD = {
    "one stop": (("interpolate", "--seeds", "3"), "2 at least"),
    "more stops than frames": (("interpolate", "--frames", "3"), "4 seeds, 3 frames"),
    "another film": (("interpolate", "--out", "x.avi"), ".gif or .mp4"),
    "rows": (("mix", "--rows", "x"), "--rows"),
    "another picture": (("mix", "--out", "x.jpg"), ".png"),
    "a folder for a picture": (("mix", "--out", "folder.png"), "it is a folder"),
    "no skips": (("mix", "runs/dcgan"), "dcgan"),
    "no picture": (("invert", "runs/demo", "nowhere.png"), "no such file or folder"),
    "not there": (("neighbours", "--data", "nowhere"), "nowhere"),
    "there already": (("export", "--out", "pictures"), "there already"),
    "too small": (("export", "--to", "official", "--out", "x.pth"), "model.resolution"),
    "no place": (("sample", "--out", "pictures/0.PNG/x.png"), "cannot be written"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_message_and_status_2(case, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    Path("folder.png").mkdir(exist_ok=True)
    (name, *words), expected = BAD[case]
    given = words if words[0].startswith("runs/") else ["runs/demo", *words]
    assert call(name, *given) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert expected in message and "Traceback" not in message
