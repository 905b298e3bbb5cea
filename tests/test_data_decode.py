"""Decode every format, mode and orientation; refuse what is damaged or too large."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from encoded_pictures import WHITE, difference, encode, gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fastgan_ray.data.decode import MAX_PIXELS, decode, pillow_warnings_off
from fastgan_ray.errors import UserError


@pytest.mark.parametrize(
    ("form", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 98, "subsampling": 0}, 8),
        ("GIF", {}, 60),
    ],
)
def test_every_format_gives_the_picture(form, options, tolerance):
    assert difference(decode(encode(gradient(), form, **options), WHITE), gradient()) <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_as_pillow_does_it(form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(gradient(), form, exif=exif)
    with Image.open(io.BytesIO(data)) as stored:
        expected = ImageOps.exif_transpose(stored).convert("RGB")
    assert decode(data, WHITE).size == ((24, 16) if orientation < 5 else (16, 24))
    assert difference(decode(data, WHITE), expected) == 0


def test_damaged_exif_does_not_matter():
    data = encode(gradient(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\xff garbage")
    with pillow_warnings_off():
        assert decode(data, WHITE).size == (24, 16)


@pytest.mark.parametrize("background", ["#ffffff", "#102030"])
def test_alpha_is_composed_over_the_background(background):
    colour = np.array([int(background[i : i + 2], 16) for i in (1, 3, 5)])
    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[..., 3] = [0, 128, 255]
    out = np.asarray(decode(encode(Image.fromarray(pixels)), background), np.float64)
    for column, alpha in enumerate((0, 128 / 255, 1)):
        expected = alpha * np.array([200, 0, 0]) + (1 - alpha) * colour
        assert np.abs(out[0, column] - expected).max() <= 1


def test_grey_with_alpha_and_one_bit():
    grey = Image.merge("LA", (Image.new("L", (4, 4), 90), Image.new("L", (4, 4), 0)))
    assert decode(encode(grey), "#0a0b0c").getpixel((0, 0)) == (10, 11, 12)
    assert decode(encode(Image.new("L", (4, 4), 90)), WHITE).getpixel((0, 0)) == (90, 90, 90)
    assert decode(encode(Image.new("1", (4, 4), 1)), WHITE).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_palette_with_and_without_transparency(form):
    image = Image.new("P", (4, 2))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    assert decode(encode(image, form), WHITE).getpixel((0, 0)) == (255, 0, 0)
    out = decode(encode(image, form, transparency=0), "#010203")
    assert out.getpixel((0, 0)) == (1, 2, 3)
    assert out.getpixel((1, 0)) == (0, 255, 0)


def test_palette_with_partial_transparency():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    out = decode(encode(image, transparency=bytes([128, 255])), "#000000")
    assert out.getpixel((0, 0)) == (128, 0, 0) and out.getpixel((1, 0)) == (0, 255, 0)


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(form):
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red, green, blue = decode(encode(cmyk, form), WHITE).getpixel((8, 8))
    assert red > 240 and green < 15 and blue < 15


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(form):
    values = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    out = np.asarray(decode(encode(Image.fromarray(values), form), WHITE))
    assert np.array_equal(out[..., 0], np.round(values / 257)) and out.max() == 255
    assert np.array_equal(out[..., 0], out[..., 2])


def test_16_bit_grey_with_a_transparent_value():
    values = np.array([[0, 30000], [65535, 30000]], np.uint16)
    out = decode(encode(Image.fromarray(values), transparency=30000), "#ff0000")
    assert out.getpixel((1, 0)) == (255, 0, 0) and out.getpixel((0, 1)) == (255, 255, 255)


def test_16_bit_rgb_is_scaled_not_clipped():
    values = np.array([[[0, 32768, 65535], [257, 25700, 51400]]], ">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    out = decode(_png([(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]), WHITE)
    assert out.getpixel((0, 0)) == (0, 128, 255) and out.getpixel((1, 0)) == (1, 100, 200)


@pytest.mark.parametrize("values", [np.ones((2, 2), np.float32), np.full((2, 2), 70000, np.int32)])
def test_pixels_without_a_defined_white_are_refused(values):
    with pytest.raises(UserError, match="range of values is not defined"):
        decode(encode(Image.fromarray(values), "TIFF"), WHITE)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation(form):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("#ff0000", "#0000ff")]
    options = {"lossless": True} if form == "WEBP" else {}
    data = encode(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert decode(data, WHITE).getpixel((4, 4)) == (255, 0, 0)


def _png(chunks) -> bytes:
    out = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        out += struct.pack(">I", len(body)) + kind + body
        out += struct.pack(">I", zlib.crc32(kind + body))
    return out


@pytest.mark.parametrize("side", [int(MAX_PIXELS**0.5) + 1, 20_000, 2**31 - 1])
def test_decompression_bombs_are_refused_before_decoding(side):
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    with pytest.raises(UserError, match=r"pixels: shrink it|damaged"):
        decode(_png([(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]), WHITE)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\0" * 500, b"%!PS-Adobe-3.0 EPSF-3.0\n", b"<svg/>"]
)
def test_other_files_are_refused(data):
    with pytest.raises(UserError, match=r"empty|not a picture"):
        decode(data, WHITE)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_half_a_file_is_refused(form):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), form)
    with pytest.raises(UserError):
        decode(data[: len(data) // 2], WHITE)


SAMPLES = [
    encode(gradient(), form, **options)
    for form, options in [
        ("JPEG", {"progressive": True}),
        ("JPEG", {}),
        ("PNG", {}),
        ("WEBP", {}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("GIF", {}),
    ]
]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SAMPLES),
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    st.binary(max_size=8),
)
def test_any_damage_gives_a_picture_or_a_user_error(data, share, changes, tail):
    damaged = bytearray(data[: int(len(data) * share)])
    for position, value in changes:
        if damaged:
            damaged[int(len(damaged) * position)] = value
    _picture_or_user_error(bytes(damaged) + tail)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(
        [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"RIFF"]
    ),
    st.binary(max_size=200),
)
def test_any_bytes_give_a_picture_or_a_user_error(start, rest):
    _picture_or_user_error(start + rest)


def _picture_or_user_error(data: bytes) -> None:
    try:
        image = decode(data, WHITE)
    except UserError as error:
        assert str(error) and "0x" not in str(error)
    else:
        assert image.mode == "RGB" and min(image.size) >= 1
