"""Films of a training, from the grids that it keeps."""

import json

import numpy as np
import pytest
import torch
from command_line import call
from PIL import Image

from fastgan_ray.data.grid import save_grid
from fastgan_ray.errors import UserError
from fastgan_ray.latent.evolution import CAPTION, film, find_grids

SIDE = 4  # pixels of a sample
SHADES = (-1.0, 0.0, 1.0)


def write_grids(folder, channels=3, shades=SHADES):
    """Write a grid for each shade of the samples, at 0.5, 10 and 1000 kimg; return the folder."""
    for shown, shade in zip((500, 10_000, 1_000_000), shades, strict=True):
        samples = torch.full((36, channels, SIDE, SIDE), shade)
        samples[1] = -shade
        save_grid(samples, folder / "grids" / f"{shown:09d}.png")
    return folder


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_each_evaluation_is_a_frame_in_order(tmp_path, channels):
    grids = find_grids(write_grids(tmp_path, channels))
    assert [int(path.stem) for path in grids] == [500, 10_000, 1_000_000]
    frames = list(film(grids, None, 1024))
    side = 6 * (SIDE + 2) - 2
    assert [frame.shape for frame in frames] == [(side + CAPTION, side, 3)] * 3
    if channels < 4:
        assert [int(frame[0, 0, 0]) for frame in frames] == [0, 128, 255]
        assert [int(frame[0, SIDE + 2, 0]) for frame in frames] == [255, 128, 0]
    else:  # what is fully transparent is white
        assert [int(frame[0, 0, 0]) for frame in frames] == [255, 191, 255]
    captions = {frame[side:].tobytes() for frame in frames}
    assert len(captions) == 3 and all((frame[side:] < 128).any() for frame in frames)


def test_a_few_samples_and_a_small_width(tmp_path):
    grids = find_grids(write_grids(tmp_path))
    (first, *_) = film(grids, 3, 1024)
    assert first.shape == (2 * (SIDE + 2) - 2 + CAPTION, 2 * (SIDE + 2) - 2, 3)
    assert (first[: 2 * SIDE, SIDE + 2 :][SIDE + 2 :] == 255).all()  # the place of the fourth
    (small, *_) = film(grids, None, 17)
    assert small.shape == (16 + CAPTION, 16, 3)


def test_a_search_has_the_film_of_its_best_trial(tmp_path):
    trial = write_grids(tmp_path / "trials" / "00003")
    checkpoint = tmp_path / "best" / "checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / "metadata.json").write_text("{}")
    (tmp_path / "best" / ".source").write_text(json.dumps(["trials/00003", 1.0]))
    for path in (tmp_path, tmp_path / "best", checkpoint):
        assert find_grids(path) == find_grids(trial)


def test_one_grid_is_no_film(tmp_path):
    (tmp_path / "grids").mkdir()
    Image.new("RGB", (34, 34)).save(tmp_path / "grids" / "000000500.png")
    with pytest.raises(UserError, match=r"has 1 sample grid, .* at least 2 evaluations"):
        find_grids(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        find_grids(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", ["cut", "other size", "no grid"])
def test_a_file_that_is_no_grid_is_named(tmp_path, damage):
    last = find_grids(write_grids(tmp_path))[-1]
    if damage == "cut":
        last.write_bytes(last.read_bytes()[:60])
    else:
        Image.new("RGB", (46, 46) if damage == "other size" else (35, 34)).save(last)
    with pytest.raises(
        UserError, match=rf"{last.name}: (is not a grid|its size differs) .*; remove this file"
    ):
        list(film(find_grids(tmp_path), None, 1024))


def test_the_command_writes_a_gif(tmp_path, capsys):
    out = tmp_path / "film.gif"
    assert call("evolve", write_grids(tmp_path / "run"), "--out", out, "--fps", 2) == 0
    assert capsys.readouterr().out == f"wrote 3 frames, from 0.5 to 1000 kimg, to {out}\n"
    with Image.open(out) as opened:
        assert opened.n_frames == 3 and opened.info["duration"] == 500
        first = np.asarray(opened.convert("RGB"))
        assert first[0, 0].max() < 10


def test_the_command_writes_an_mp4(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    out = tmp_path / "film.mp4"
    assert call("evolve", write_grids(tmp_path / "run"), "--out", out) == 0
    assert out.stat().st_size > 500
