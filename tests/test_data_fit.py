"""Pictures of any shape become squares."""

from __future__ import annotations

import numpy as np
import pytest
from encoded_pictures import WHITE, difference, encode, gradient
from PIL import Image

from fastgan_ray.data.decode import decode
from fastgan_ray.data.fit import fit_to_square


def test_crop_takes_the_centre_and_squash_takes_all():
    image = Image.new("RGB", (30, 10), "#ff0000")
    image.paste("#00ff00", (10, 0, 20, 10))
    cropped = fit_to_square(image, "crop", WHITE, 8)
    assert cropped.size == (8, 8) and cropped.getcolors() == [(64, (0, 255, 0))]
    squashed = fit_to_square(image, "squash", WHITE, 9)
    assert [squashed.getpixel((x, 4)) for x in (0, 4, 8)] == [
        (255, 0, 0),
        (0, 255, 0),
        (255, 0, 0),
    ]


@pytest.mark.parametrize("size", [(40, 20), (20, 40)])
def test_pad_shows_all_on_the_background(size):
    out = np.asarray(fit_to_square(Image.new("RGB", size, "#ff0000"), "pad", "#0000ff", 16))
    out = out if size[0] > size[1] else out.transpose(1, 0, 2)
    assert (out[4:12] == (255, 0, 0)).all()
    assert (out[:4] == (0, 0, 255)).all() and (out[12:] == (0, 0, 255)).all()


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 7), (64, 64)])
@pytest.mark.parametrize("side", [32, 64])
def test_any_shape_becomes_a_square(fit, size, side):
    assert fit_to_square(Image.new("RGB", size, "#808080"), fit, WHITE, side).size == (side, side)


def test_without_a_side_the_scale_stays():
    image = gradient(30, 10)
    assert fit_to_square(image, "squash", WHITE).size == (30, 10)
    assert difference(fit_to_square(image, "crop", WHITE), image.crop((10, 0, 20, 10))) == 0
    padded = fit_to_square(image, "pad", WHITE)
    assert padded.size == (30, 30) and difference(padded.crop((0, 10, 30, 20)), image) == 0


def test_shrinking_is_antialiased():
    checks = np.indices((256, 256)).sum(axis=0) % 2 * 255
    image = Image.fromarray(checks.astype(np.uint8)).convert("RGB")
    assert np.abs(np.asarray(fit_to_square(image, "squash", WHITE, 32), np.int16) - 127).max() <= 2


def test_no_halo_of_hidden_colours_around_alpha():
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[..., 1] = 255  # hidden green under the transparent half
    pixels[:, 32:] = (255, 255, 255, 255)
    out = np.asarray(
        fit_to_square(decode(encode(Image.fromarray(pixels)), WHITE), "squash", WHITE, 16)
    )
    assert (out == 255).all()
