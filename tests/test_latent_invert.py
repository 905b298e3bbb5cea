"""Finding the latents of given pictures."""

import numpy as np
import pytest
import tiny
import torch
from latent_checkpoints import alive, model
from PIL import Image
from safetensors.torch import load_file

from fastgan_ray.config.data import DataConfig
from fastgan_ray.errors import UserError
from fastgan_ray.latent.invert import invert, invert_pictures, save_inversions
from fastgan_ray.latent.pictures import read_pictures
from fastgan_ray.latent.sample import latent, sample
from fastgan_ray.models import build_generator
from fastgan_ray.train.perceptual import DISTANCES

L1 = DISTANCES["l1"](torch.device("cpu"))


@pytest.fixture(scope="module")
def generator():
    return alive(build_generator(model())).requires_grad_(False)


def test_a_picture_of_the_generator_is_approached(generator):
    target = sample(generator, 8, [5])[0]
    weights = {name: value.clone() for name, value in generator.state_dict().items()}
    few, many = (invert(generator, target, latent(0, 8), L1, steps) for steps in (1, 60))
    assert few.distance == pytest.approx(few.start)
    assert many.start == pytest.approx(few.start)
    assert many.distance < 0.7 * many.start
    # The picture and the numbers belong to the returned latent.
    again = generator(many.latent[None])[0].clamp(-1, 1)[0]
    torch.testing.assert_close(again, many.picture)
    assert many.mse == pytest.approx((many.picture - target).square().mean().item(), rel=1e-4)
    # Only the latent has changed.
    assert all(torch.equal(weights[name], now) for name, now in generator.state_dict().items())


def test_latents_and_a_grid_are_written(generator, tmp_path):
    pictures = read_pictures(tiny.write_pictures(tmp_path, 3), DataConfig(), (32, 32))
    assert list(pictures) == ["0.PNG", "1.PNG", "2.PNG"]
    labels = []

    def track(items, label):
        labels.append(label)
        return iter(items)

    inversions = dict(invert_pictures(generator, 8, pictures, L1, 2, track))
    assert labels == [f"inverting {name}" for name in pictures]
    save_inversions(pictures, inversions, tmp_path)
    latents = load_file(tmp_path / "latents.safetensors")
    assert torch.equal(latents["1.PNG"], inversions["1.PNG"].latent)
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (4 * 34 - 2, 2 * 34 - 2)
        first = np.asarray(grid)[:32, :32].astype(float) / 127.5 - 1
    assert np.abs(first.transpose(2, 0, 1) - pictures["0.PNG"].numpy()).max() < 0.01


def test_one_picture_and_a_folder_read_alike(tmp_path):
    folder = tiny.write_pictures(tmp_path, 2)
    both = read_pictures(folder, DataConfig(fit="crop"), (64, 64))
    one = read_pictures(folder / "1.PNG", DataConfig(fit="crop"), (64, 64))
    assert torch.equal(one["1.PNG"], both["1.PNG"]) and one["1.PNG"].shape == (3, 64, 64)
    assert both["1.PNG"].min() >= -1 and both["1.PNG"].max() <= 1


def test_a_file_that_is_not_a_picture_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.png").write_bytes(b"no")
    (tmp_path / "note.txt").write_text("")
    cases = {"nowhere": "no such", "empty": "no pictures", "bad.png": "bad.png: is not a picture"}
    for name, words in {**cases, "note.txt": "note.txt: is not a picture"}.items():
        with pytest.raises(UserError, match=words):
            read_pictures(tmp_path / name, DataConfig(), (32, 32))
