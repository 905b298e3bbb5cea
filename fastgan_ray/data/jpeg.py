"""Repair JPEG files that lack only the end marker.

Viewers show such files, but Pillow refuses to decode them.
"""

from __future__ import annotations

import io
import re

from PIL import Image

# In compressed data, every byte 0xff is followed by 0 or by the number of a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_END = b"\xff\xd9"
_START_OF_SCAN = b"\xff\xda"
# Bytes to append to a file. If a pixel is missing, each filler makes a decoder return another value
# for this pixel.
_FILLERS = tuple(bytes([pattern]) * 64 for pattern in (0x00, 0x55, 0xAA, 0x33, 0xCC))


def lacks_end(data: bytes) -> bool:
    """Return whether a JPEG lacks its end marker. Other bytes may follow the marker."""
    return _inspect_end(data)[0]


def with_end(data: bytes) -> bytes:
    """Add the end marker to a JPEG that lacks only this marker; return other files unchanged.

    To check that no pixels are missing, the file is decoded several times, each time with different
    bytes (a filler) before the added marker. If the pixels are always the same, none is missing.
    """
    is_cut, has_all_scans = _inspect_end(data)
    if not is_cut or not has_all_scans:
        return data
    whole = data.rstrip(b"\xff")
    readings = {_pixels(whole + filler + _END) for filler in _FILLERS}
    return whole + _END if len(readings) == 1 and None not in readings else data


def _inspect_end(data: bytes) -> tuple[bool, bool]:
    """Return whether a JPEG lacks its end marker, and if so, whether its last scan has begun.

    A progressive JPEG has several scans. Each scan adds bits to the coefficients of some colour
    components. After the last scan, no coefficient lacks bits. Only the coefficients of frequency 0
    (the mean, "DC") and of the highest frequency, 63, are checked. If the end marker is not
    missing, both results are False.
    """
    at, in_scan = 2, False
    missing_bits: dict[tuple[int, bool], int] = {}
    while match := _MARKER.search(data, at):
        if match[0] == _END:
            return False, False
        start = match.end()
        at = start + int.from_bytes(
            data[start : start + 2], "big"
        )  # skip the segment by its length
        in_scan = match[0] == _START_OF_SCAN and at < len(data)
        if in_scan:
            segment = data[start + 2 : at]
            *components, first, last, bits = segment[1 : 1 + 2 * segment[0] : 2] + segment[-3:]
            for component in components:
                if first == 0:
                    missing_bits[component, False] = bits & 15
                if last == 63:
                    missing_bits[component, True] = bits & 15
                else:
                    missing_bits.setdefault((component, True), 15)
    return True, in_scan and not any(missing_bits.values())


def _pixels(data: bytes) -> bytes | None:
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return image.tobytes()
    except Exception:  # Pillow raises nearly every type of error on damaged input
        return None
