"""ICC profiles made from their definition, and the formula by which they are converted to sRGB."""

from __future__ import annotations

import struct

import numpy as np

# x and y of red, green and blue, and the exponent of the curve; the white point is D65.
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), 563 / 256)
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), None)  # None: the curve of sRGB
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), None)
D65, D50 = (0.3127, 0.3290), (0.34567, 0.35850)
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def xyz(point: tuple[float, float]) -> np.ndarray:
    x, y = point
    return np.array([x / y, 1, (1 - x - y) / y])


def matrix(space) -> np.ndarray:
    """From linear RGB to XYZ, under D65."""
    primaries = np.stack([xyz(point) for point in space[:3]], axis=1)
    return primaries * np.linalg.solve(primaries, xyz(D65))


def decoded(values: np.ndarray, exponent: float | None) -> np.ndarray:
    if exponent is not None:
        return values**exponent
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encoded(values: np.ndarray) -> np.ndarray:
    values = values.clip(0, 1)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


def in_srgb(pixels: np.ndarray, space) -> np.ndarray:
    """Pixels (..., 3), 0 to 255, of a space as sRGB, by the formula."""
    linear = decoded(np.asarray(pixels) / 255, space[3])
    return 255 * encoded(linear @ (np.linalg.inv(matrix(SRGB)) @ matrix(space)).T)


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def curve(exponent: float | None) -> bytes:
    if exponent is not None:
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(exponent * 256))
    table = decoded(np.linspace(0, 1, 4096), None)
    entries = (table * 65535).round().astype(">u2").tobytes()
    return b"curv" + bytes(4) + struct.pack(">I", len(table)) + entries


def described(text: str) -> bytes:
    name = text.encode() + b"\0"
    return b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(4 + 4 + 2 + 1 + 67)


def container(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A profile of version 2 for a display: header, table of tags, tags."""
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content
    header = (
        struct.pack(">I", offset + len(body)) + bytes(4) + b"\x02\x40\0\0mntr" + space + b"XYZ "
    )
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(*xyz(D50))
    return header + bytes(128 - len(header)) + table + body


def rgb_profile(space, name: str) -> bytes:
    """A profile with a matrix and three curves, under D50 as profiles are (Bradford)."""
    cones = (BRADFORD @ xyz(D50)) / (BRADFORD @ xyz(D65))
    columns = np.linalg.inv(BRADFORD) @ np.diag(cones) @ BRADFORD @ matrix(space)
    tags = {b"desc": described(name), b"wtpt": b"XYZ " + bytes(4) + fixed(*xyz(D50))}
    for letter, column in zip((b"r", b"g", b"b"), columns.T, strict=True):
        tags[letter + b"XYZ"] = b"XYZ " + bytes(4) + fixed(*column)
        tags[letter + b"TRC"] = curve(space[3])
    return container(b"RGB ", tags)


def grey_profile(exponent: float) -> bytes:
    tags = {b"desc": described("grey"), b"wtpt": b"XYZ " + bytes(4) + fixed(*xyz(D50))}
    return container(b"GRAY", tags | {b"kTRC": curve(exponent)})


def cmyk_profile() -> bytes:
    """A made-up press: a table from ink to Lab, in which cyan ink prints grey and no ink white."""
    grid = np.stack(np.meshgrid(*[[0.0, 1.0]] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    # Lab of 8 bits: L of 100 is 255; a and b of 0 are 128.
    lightness = 255 * (1 - grid[:, 0]) * (1 - grid[:, 3])
    lab = np.stack([lightness, np.full(16, 128), np.full(16, 128)], axis=1).round()
    head = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    straight = bytes(range(256))
    table = head + straight * 4 + lab.astype(np.uint8).tobytes() + straight * 3
    tags = {b"desc": described("press"), b"wtpt": b"XYZ " + bytes(4) + fixed(*xyz(D50))}
    profile = container(b"CMYK", tags | {b"A2B0": table})
    return profile[:12] + b"prtr" + profile[16:20] + b"Lab " + profile[24:]
