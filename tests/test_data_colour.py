"""Colour profiles: each is converted to sRGB as the formula says; alpha and grey stay right."""

from __future__ import annotations

import io

import numpy as np
import pytest
from colour_profiles import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    cmyk_profile,
    encoded,
    grey_profile,
    in_srgb,
    rgb_profile,
)
from encoded_pictures import WHITE, encode
from PIL import Image, ImageCms, features

from fastgan_ray.config.data import DataConfig
from fastgan_ray.data.adobe_rgb import ADOBE_RGB as PROFILE
from fastgan_ray.data.cached_array import load_images
from fastgan_ray.data.colour import profile_name
from fastgan_ray.data.decode import decode
from fastgan_ray.data.inspection import inspect
from fastgan_ray.data.source import open_source

WITH_PROFILES = ["PNG", "TIFF", "WEBP", "JPEG"]
if "avif" in features.get_supported():
    WITH_PROFILES.append("AVIF")
SPACES = {"Adobe RGB": ADOBE_RGB, "Display P3": DISPLAY_P3}


def colours() -> np.ndarray:
    """Pixels inside sRGB in every space here: (5, 25, 3)."""
    levels = np.array([40, 80, 120, 160, 200], np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(5, 25, 3)
    return (128 + (cube.astype(float) - 128) * 0.6).round().astype(np.uint8)


def read(image: Image.Image, form: str = "PNG", background: str = WHITE, **options) -> np.ndarray:
    return np.asarray(decode(encode(image, form, **options), background), np.float64)


def options(form: str) -> dict:
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
    return lossless.get(form, {"quality": 100, "subsampling": "4:4:4"} if form == "AVIF" else {})


@pytest.mark.parametrize(
    ("name", "pixel"),
    [
        # The red (200, 60, 40) of sRGB, as a file stores it in a larger space.
        ("Adobe RGB", (173, 62, 45)),
        ("Display P3", (185, 71, 50)),
    ],
)
def test_a_known_red(name, pixel):
    profile = rgb_profile(SPACES[name], name)
    out = read(Image.new("RGB", (8, 8), pixel), icc_profile=profile)
    assert np.abs(out - (200, 60, 40)).max() <= 2


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("form", WITH_PROFILES)
def test_a_profile_is_converted_as_the_formula_says(form, name):
    pixels, profile = colours(), rgb_profile(SPACES[name], name)
    if form in ("JPEG", "AVIF"):
        pixels = np.full((16, 16, 3), (173, 62, 45), np.uint8)  # one colour survives compression
    stored = Image.fromarray(pixels)
    out = read(stored, form, icc_profile=profile, **options(form))
    expected = in_srgb(pixels, SPACES[name])
    assert np.abs(out - expected).max() <= (2 if form in ("JPEG", "AVIF") else 1.5)
    assert np.abs(expected - pixels).max() > 10, "this profile would show nothing"


@pytest.mark.parametrize("profile", [rgb_profile(SRGB, "own"), "pillow", None])
def test_srgb_is_not_touched(profile):
    if profile == "pillow":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.array_equal(read(Image.fromarray(pixels), icc_profile=profile), pixels)


def test_colours_outside_srgb_are_cut_off():
    out = read(Image.new("RGB", (4, 4), (0, 255, 0)), icc_profile=rgb_profile(ADOBE_RGB, "Adobe"))
    assert out[0, 0].tolist() == [0, 255, 0] or (out[0, 0, 1] == 255 and out[0, 0, 0] <= 5)


def test_the_background_and_alpha_are_not_converted():
    pixels = np.zeros((1, 2, 4), np.uint8)
    pixels[0, :] = (173, 62, 45, 0)
    pixels[0, 1, 3] = 255
    profile = rgb_profile(ADOBE_RGB, "Adobe RGB")
    out = read(Image.fromarray(pixels), background="#102030", icc_profile=profile)
    assert out[0, 0].tolist() == [16, 32, 48]
    assert np.abs(out[0, 1] - in_srgb(np.array([173, 62, 45]), ADOBE_RGB)).max() <= 1.5


def test_a_palette_with_a_profile():
    image = Image.new("P", (4, 4))
    image.putpalette([173, 62, 45, 0, 0, 0])
    out = read(image, icc_profile=rgb_profile(ADOBE_RGB, "Adobe RGB"))
    assert np.abs(out[0, 0] - in_srgb(np.array([173, 62, 45]), ADOBE_RGB)).max() <= 1.5


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [8, 16])
def test_grey_with_a_curve_of_its_own(form, bits):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    stored = values if bits == 8 else (values.astype(np.uint16) * 257)
    out = read(Image.fromarray(stored), form, icc_profile=grey_profile(1.0))
    expected = 255 * encoded(values / 255)
    assert np.abs(out - expected[..., None]).max() <= 1.5


def test_grey_with_alpha_and_a_curve():
    image = Image.merge("LA", (Image.new("L", (4, 4), 55), Image.new("L", (4, 4), 255)))
    out = read(image, icc_profile=grey_profile(1.0))
    assert np.abs(out - 255 * encoded(np.array(55 / 255))).max() <= 1.5


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_is_converted_by_its_profile(form):
    """In the test's profile half cyan is the grey of L* 50, and magenta prints nothing."""
    for ink, expected in [((128, 0, 0, 0), 118), ((0, 255, 0, 0), 255), ((0, 0, 0, 255), 0)]:
        data = encode(Image.new("CMYK", (16, 16), ink), form, icc_profile=cmyk_profile())
        assert form == "TIFF" or b"Adobe" in data, "not inverted as Adobe stores it"
        out = np.asarray(decode(data, WHITE), np.float64)
        assert np.abs(out - expected).max() <= 3, (ink, out[8, 8])


def test_cmyk_without_a_profile_is_converted_by_subtraction():
    assert read(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "TIFF")[0, 0].tolist() == [255, 0, 0]


def test_lab_is_read():
    lab = Image.merge("LAB", [Image.new("L", (8, 8), value) for value in (255, 128, 128)])
    assert read(lab, "TIFF").min() >= 253


@pytest.mark.parametrize(
    "profile",
    [b"junk", rgb_profile(ADOBE_RGB, "cut")[:300], grey_profile(1.0), cmyk_profile(), b"\0" * 200],
)
def test_a_profile_that_is_damaged_or_of_another_kind_is_ignored(profile):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert np.array_equal(read(Image.fromarray(pixels), icc_profile=profile), pixels)


def camera(space: int, index: str | None) -> bytes:
    """A JPEG as cameras write it, which names its colours but has no profile."""
    exif = Image.Exif()
    exif[0x8769] = {0xA001: space} | ({0xA005: {1: index}} if index else {})
    stored = Image.new("RGB", (16, 16), (173, 62, 45))
    return encode(stored, "JPEG", quality=100, subsampling=0, exif=exif)


@pytest.mark.parametrize(
    ("space", "index", "is_adobe"),
    [(65535, "R03", True), (2, None, True), (1, "R98", False), (65535, None, False)],
)
def test_a_camera_names_adobe_rgb_without_a_profile(space, index, is_adobe):
    data = camera(space, index)
    out = np.asarray(decode(data, WHITE), np.float64)
    expected = (200, 60, 40) if is_adobe else (173, 62, 45)
    assert np.abs(out - expected).max() <= 3
    facts = inspect(data, "first").pictures[0]
    assert facts.profile == ("Adobe RGB (1998)" if is_adobe else "")


def test_the_profile_of_adobe_rgb_is_that_of_the_formula():
    pixels = colours()
    out = read(Image.fromarray(pixels), icc_profile=PROFILE)
    assert np.abs(out - in_srgb(pixels, ADOBE_RGB)).max() <= 1.5


def test_profiles_have_names():
    assert profile_name(rgb_profile(DISPLAY_P3, "Display P3")) == "Display P3"
    assert profile_name(b"junk") == "damaged" and profile_name(None) == ""


def test_the_profiles_of_the_test_are_profiles():
    for profile in (rgb_profile(ADOBE_RGB, "a"), grey_profile(2.2), cmyk_profile()):
        assert ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.version >= 2


def test_what_a_version_without_colour_profiles_cached_is_not_used(
    tmp_path, empty_cache, monkeypatch
):
    """Facts and pixels that an older version stored have the colours of the file, not of sRGB."""
    profile, folder = rgb_profile(ADOBE_RGB, "Adobe RGB"), tmp_path / "pictures"
    folder.mkdir()
    for side in (8, 9):
        picture = Image.new("RGB", (side, side), (173, 62, 45))
        picture.save(folder / f"{side}.png", icc_profile=profile)
    config = DataConfig(path=str(folder))

    def first_pixel() -> list[int]:
        return load_images(open_source(config), config, (8, 8))[0, 0, 0].tolist()

    with monkeypatch.context() as then:
        then.setattr("fastgan_ray.data.cached_array._VERSION", 1)
        then.setattr("fastgan_ray.data.checking._VERSION", 1)
        then.setattr("fastgan_ray.data.decode.profile_of", lambda image: None)
        assert first_pixel() == [173, 62, 45]
    assert np.abs(np.subtract(first_pixel(), (200, 60, 40))).max() <= 2
    assert len(list((empty_cache / "images").iterdir())) == 2
    assert len(list((empty_cache / "checked").iterdir())) == 2
