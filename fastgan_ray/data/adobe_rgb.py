"""Build the ICC profile of the colour space Adobe RGB.

Most cameras only name this colour space in the EXIF data and do not embed its profile.
"""

from __future__ import annotations

import struct

from PIL import ExifTags, Image

_UNCALIBRATED, _ADOBE = 65535, 2  # values of EXIF's ColorSpace
_INDEX_TAG, _ADOBE_INDEX = 1, "R03"  # in EXIF's interoperability IFD (DCF 2.0)
# Adobe RGB (1998), section 4.3: XYZ of red, green and blue, adapted to D50; tone curve's exponent.
_COLORANTS = {
    b"r": (0.60974, 0.31111, 0.01947),
    b"g": (0.20528, 0.62567, 0.06087),
    b"b": (0.14919, 0.06322, 0.74457),
}
_EXPONENT = 563 / 256
_D50 = (0.9642, 1.0, 0.8249)


def says_adobe_rgb(image: Image.Image) -> bool:
    """Return whether a picture's EXIF data says that its colours are in Adobe RGB."""
    try:
        exif = image.getexif()
        space = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
        if space != _UNCALIBRATED:
            return bool(space == _ADOBE)
        index = str(exif.get_ifd(ExifTags.IFD.Interop).get(_INDEX_TAG, ""))
    except Exception:  # Pillow raises nearly every type of error on damaged EXIF data
        return False
    return index.startswith(_ADOBE_INDEX)


def _profile() -> bytes:
    """Return the bytes of an ICC profile (version 2) of Adobe RGB."""
    name = b"Adobe RGB (1998)\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78),
        b"wtpt": _xyz(_D50),
    }
    for letter, colorant in _COLORANTS.items():
        tags[letter + b"XYZ"] = _xyz(colorant)
        tags[letter + b"TRC"] = b"curv" + bytes(4) + struct.pack(">IH", 1, round(256 * _EXPONENT))
    # A profile has a header of 128 bytes, a table of tags, and the contents of the tags.
    offset, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", offset + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = struct.pack(">I", offset + len(body))
    header = size + bytes(4) + b"\x02\x40\0\0mntrRGB XYZ " + struct.pack(">6H", 1998, 1, 1, 0, 0, 0)
    header += b"acsp" + bytes(28) + _fixed(_D50)
    return header + bytes(128 - len(header)) + table + body


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def _fixed(values: tuple[float, ...]) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


ADOBE_RGB = _profile()
