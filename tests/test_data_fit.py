"""Pictures of any shape get the shape of generated ones: a square by default."""

from __future__ import annotations

import numpy as np
import pytest
from encoded_pictures import WHITE, difference, encode, gradient
from PIL import Image

from fastgan_ray.data.decode import MAX_PIXELS, decode
from fastgan_ray.data.fit import fit_picture


def test_crop_takes_the_centre_and_squash_takes_all():
    image = Image.new("RGB", (30, 10), "#ff0000")
    image.paste("#00ff00", (10, 0, 20, 10))
    cropped = fit_picture(image, "crop", WHITE, (8, 8))
    assert cropped.size == (8, 8) and cropped.getcolors() == [(64, (0, 255, 0))]
    squashed = fit_picture(image, "squash", WHITE, (9, 9))
    assert [squashed.getpixel((x, 4)) for x in (0, 4, 8)] == [
        (255, 0, 0),
        (0, 255, 0),
        (255, 0, 0),
    ]


@pytest.mark.parametrize("size", [(40, 20), (20, 40)])
def test_pad_shows_all_on_the_background(size):
    out = np.asarray(fit_picture(Image.new("RGB", size, "#ff0000"), "pad", "#0000ff", (16, 16)))
    out = out if size[0] > size[1] else out.transpose(1, 0, 2)
    assert (out[4:12] == (255, 0, 0)).all()
    assert (out[:4] == (0, 0, 255)).all() and (out[12:] == (0, 0, 255)).all()


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 7), (64, 64)])
@pytest.mark.parametrize("side", [32, 64])
def test_any_shape_becomes_a_square(fit, size, side):
    image = Image.new("RGB", size, "#808080")
    assert fit_picture(image, fit, WHITE, (side, side)).size == (side, side)


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 7), (48, 32), (64, 64)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_any_shape_becomes_a_rectangle(fit, size, mode):
    image = Image.new(mode, size, "#808080")
    fitted = fit_picture(image, fit, WHITE, (48, 32))
    assert fitted.size == (32, 48) and fitted.mode == mode
    shape = fit_picture(image, fit, WHITE, (3, 2), keep_scale=True).size
    if fit == "squash":
        assert shape == size
    elif fit == "pad":
        assert abs(shape[0] * 3 - shape[1] * 2) <= 3
        assert shape[0] >= size[0] and shape[1] >= size[1]


def test_a_rectangle_is_cropped_from_the_centre_and_padded_around():
    image = Image.new("RGB", (60, 30), "#ff0000")
    image.paste("#00ff00", (20, 0, 40, 30))  # the middle, 2:3
    cropped = fit_picture(image, "crop", WHITE, (3, 2), keep_scale=True)
    assert cropped.size == (20, 30) and cropped.getcolors() == [(600, (0, 255, 0))]
    padded = np.asarray(fit_picture(image, "pad", "#0000ff", (90, 60)))
    assert (padded[:30] == (0, 0, 255)).all() and (padded[60:] == (0, 0, 255)).all()
    assert difference(Image.fromarray(padded[30:60]), image) == 0


def test_a_long_picture_is_padded_within_the_limit_of_pixels():
    padded = fit_picture(Image.new("L", (30_000, 2)), "pad", WHITE, (3, 2), keep_scale=True)
    assert padded.width * padded.height <= MAX_PIXELS
    assert padded.width / padded.height == pytest.approx(2 / 3, rel=1e-3)


def test_the_border_of_a_picture_with_alpha_is_transparent():
    padded = np.asarray(fit_picture(Image.new("RGBA", (8, 4), "#ff0000"), "pad", WHITE, (8, 8)))
    assert (padded[2:6] == (255, 0, 0, 255)).all()
    assert (padded[:2] == (255, 255, 255, 0)).all() and (padded[6:] == (255, 255, 255, 0)).all()


def test_colours_that_nobody_sees_become_the_background():
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., 1] = 255  # hidden green
    pixels[:, 4:] = (255, 0, 0, 255)
    for size in ((8, 8), (4, 4)):
        fitted = np.asarray(fit_picture(Image.fromarray(pixels), "squash", "#000010", size))
        hidden = fitted[..., 3] == 0
        assert hidden.any() and (fitted[hidden][:, :3] == (0, 0, 16)).all()
        assert (fitted[~hidden][:, 1] == 0).all()  # no green is mixed in


def test_without_a_side_the_scale_stays():
    image = gradient(30, 10)
    assert fit_picture(image, "squash", WHITE, (1, 1), keep_scale=True).size == (30, 10)
    cropped = fit_picture(image, "crop", WHITE, (1, 1), keep_scale=True)
    assert difference(cropped, image.crop((10, 0, 20, 10))) == 0
    padded = fit_picture(image, "pad", WHITE, (1, 1), keep_scale=True)
    assert padded.size == (30, 30) and difference(padded.crop((0, 10, 30, 20)), image) == 0


def test_shrinking_is_antialiased():
    checks = np.indices((256, 256)).sum(axis=0) % 2 * 255
    image = Image.fromarray(checks.astype(np.uint8)).convert("RGB")
    shrunk = np.asarray(fit_picture(image, "squash", WHITE, (32, 32)), np.int16)
    assert np.abs(shrunk - 127).max() <= 2


def test_no_halo_of_hidden_colours_around_alpha():
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[..., 1] = 255  # hidden green under the transparent half
    pixels[:, 32:] = (255, 255, 255, 255)
    out = np.asarray(
        fit_picture(decode(encode(Image.fromarray(pixels)), WHITE), "squash", WHITE, (16, 16))
    )
    assert (out == 255).all()
