"""Convert the colours of pictures to sRGB."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from PIL import Image, ImageCms

from fastgan_ray.data.adobe_rgb import ADOBE_RGB, says_adobe_rgb

Transform = Callable[[Image.Image], Image.Image]

DAMAGED = "damaged"
_SRGB = ImageCms.createProfile("sRGB")
# Published sRGB profiles differ a little, by rounding. A picture stays unchanged if the conversion
# would change every colour by at most this many levels (of 255).
_SAME = 2
_STEPS = 17
# {colour space of a profile: Pillow's mode of the pictures that may have this profile}
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}


def profile_of(image: Image.Image) -> bytes | None:
    """Return the ICC profile of an opened picture file, or None if it has none.

    If an RGB file has no profile, but its EXIF data says Adobe RGB, the result is ADOBE_RGB.
    """
    profile: bytes | None = image.info.get("icc_profile")
    if profile or image.mode != "RGB" or not says_adobe_rgb(image):
        return profile
    return ADOBE_RGB


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert a picture without alpha to RGB, with the colours of sRGB.

    `image` may have any of Pillow's modes with 8 bits; `profile` is its ICC profile, or None. A
    picture without a profile is treated as sRGB; CMYK without a profile is converted by Pillow's
    simple formula. As in browsers, a profile is ignored if it is damaged or is for another mode.
    """
    if image.mode == "LAB":
        return _apply(image, _lab_transform())
    if image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    transform = _transform(profile, image.mode) if profile else None
    return transform(image) if transform else image.convert("RGB")


def profile_name(profile: bytes | None) -> str:
    """Return the name of an ICC profile; DAMAGED if it cannot be read; "" if `profile` is None."""
    if not profile:
        return ""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.getProfileDescription(opened).strip() or "without a name"
    except (OSError, ImageCms.PyCMSError, UnicodeError):
        return DAMAGED


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> Transform | None:
    """Return a function that converts pictures of `mode` from an ICC profile to sRGB.

    `mode` is RGB, L or CMYK. Return None if the profile must be ignored, because it is damaged
    or for another mode. Also return None if `mode` is RGB or L and the profile changes no value of
    a colour by more than _SAME (of 255).
    """
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _MODES.get(opened.profile.xcolor_space) != mode:
            return None
        # For grey, the optimised transform is wrong by up to 10 levels, so use the exact one.
        flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
        built = ImageCms.buildTransform(opened, _SRGB, mode, "RGB", flags=flags)
    except (OSError, ImageCms.PyCMSError):
        return None
    if mode == "CMYK":
        return partial(_apply, transform=built)
    before = _samples(mode)
    after = _apply(before, built)
    change = np.asarray(after, np.int16) - np.asarray(before.convert("RGB"), np.int16)
    if np.abs(change).max() <= _SAME:
        return None
    if mode == "RGB":
        return partial(_apply, transform=built)
    return partial(_look_up, table=[channel.tobytes() for channel in after.split()])


def _samples(mode: str) -> Image.Image:
    """Return a test picture with all greys (mode L) or with _STEPS ** 3 colours (mode RGB)."""
    if mode == "L":
        return Image.frombytes("L", (256, 1), bytes(range(256)))
    levels = np.linspace(0, 255, _STEPS).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3))


@lru_cache(maxsize=1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), _SRGB, "LAB", "RGB")


def _apply(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # it is None only for a transform in place
    return converted


def _look_up(image: Image.Image, table: list[bytes]) -> Image.Image:
    return Image.merge("RGB", [image.point(list(channel)) for channel in table])
