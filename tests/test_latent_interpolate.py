"""Walks between latents, and the videos of them."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from fastgan_ray.errors import UserError
from fastgan_ray.latent.interpolate import side_by_side, slerp, walk, walks
from fastgan_ray.latent.sample import latents
from fastgan_ray.latent.video import FORMATS, video_writer


def test_slerp_stays_on_the_arc():
    a, b = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    third = slerp(a, b, 1 / 3)
    expected = torch.tensor([np.cos(np.pi / 6), np.sin(np.pi / 6), 0.0], dtype=torch.float32)
    torch.testing.assert_close(third, expected)
    a, b = latents([1, 2], 64)
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    for share in np.linspace(0, 1, 9):
        assert min(a.norm(), b.norm()) * 0.98 < slerp(a, b, share).norm()


@pytest.mark.parametrize("b", [[2.0, 4.0], [-1.0, -2.0], [0.0, 0.0]])
def test_slerp_is_linear_where_there_is_no_unique_arc(b):
    a = torch.tensor([1.0, 2.0])
    middle = slerp(a, torch.tensor(b), 0.5)
    torch.testing.assert_close(middle, (a + torch.tensor(b)) / 2)


def test_a_walk_visits_every_stop_and_a_loop_its_first_again():
    stops = latents([0, 1, 2], 8)
    open_walk = walk(stops, 5)
    torch.testing.assert_close(open_walk[[0, 2, 4]], stops)
    loop = walk(stops, 6, loop=True)
    torch.testing.assert_close(loop[[0, 2, 4]], stops)
    torch.testing.assert_close(loop[5], slerp(stops[2], stops[0], 0.5))
    steps = (loop - loop.roll(-1, 0)).norm(dim=1)
    assert steps.max() < 3 * steps.min()
    for wrong in ((stops[:1], 5), (stops, 2)):
        with pytest.raises(ValueError, match="must be from 2 to the number of frames"):
            walk(*wrong)


def test_several_walks_are_the_walks_by_themselves_side_by_side():
    stops = latents(range(6), 8)
    together = walks(stops, 3, 5, loop=True).unflatten(0, (5, 3))
    for index in range(3):
        torch.testing.assert_close(together[:, index], walk(stops[2 * index :][:2], 5, loop=True))
    pictures = torch.linspace(-1, 1, 12).view(12, 1, 1, 1).expand(12, 1, 4, 6)
    sheets = list(side_by_side(iter(torch.split(pictures, 5)), 3, 2, "#ffffff"))
    assert [sheet.shape for sheet in sheets] == [(2 * 4 + 2, 2 * 6 + 2, 3)] * 4
    for index, sheet in enumerate(sheets):
        tiles = [sheet[0, 0], sheet[0, 8], sheet[6, 0], sheet[6, 8]]
        shades = [round(255 * (3 * index + tile) / 11) for tile in range(3)]
        assert [int(tile[0]) for tile in tiles] == [*shades, 255]  # a white place is left


def frames(count):
    for index in range(count):
        yield np.full((32, 32, 3), [index * 20, 0, 255 - index * 20], dtype=np.uint8)


def test_a_gif_has_every_frame_in_its_colours(tmp_path):
    video_writer(tmp_path / "x.GIF")(frames(7), tmp_path / "x.GIF", 20)
    with Image.open(tmp_path / "x.GIF") as video:
        assert video.n_frames == 7 and video.info["loop"] == 0 and video.info["duration"] == 50
        for index, frame in enumerate(frames(7)):
            video.seek(index)
            shown = np.asarray(video.convert("RGB"), dtype=int)
            assert np.abs(shown - frame).max() <= 8


def test_an_mp4_has_every_frame(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    video_writer(tmp_path / "x.mp4")(frames(7), tmp_path / "x.mp4", 20)
    decode = [ffmpeg, "-i", tmp_path / "x.mp4", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    decoded = subprocess.run(decode, capture_output=True, check=True).stdout
    shown = np.frombuffer(decoded, np.uint8).reshape(-1, 32, 32, 3).astype(int)
    assert len(shown) == 7
    assert np.abs(shown - np.stack(list(frames(7)))).mean() < 10


def test_without_ffmpeg_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match=r"pip install 'fastgan-ray\[video\]'"):
        video_writer(tmp_path / "x.mp4")
    assert set(FORMATS) == {".gif", ".mp4"}
    with pytest.raises(UserError, match=r"\.gif or \.mp4"):
        video_writer(tmp_path / "x.webm")
