"""The data sets of the library: which package each one comes from, and which of its pictures.

Each choice is a function of an unpacked package's root: it yields pictures in an order that never
changes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

Picture = Image.Image
Choice = Callable[[Path], Iterator[Picture]]

FOOD = (
    *range(0x1F32D, 0x1F331),
    *range(0x1F345, 0x1F380),
    *range(0x1F950, 0x1F970),
    *range(0x1F9C0, 0x1F9CC),
    *range(0x1FAD0, 0x1FADC),
)
HIEROGLYPHS = range(0x13000, 0x13000 + 400)
TEXTURES = ("base_floor", "base_trim", "base_wall", "base_wall2", "gothic_block", "gothic_floor")
NAEV = "usr/share/naev/dat/gfx"
FREEORION = "usr/share/games/freeorion/default/data/art/icons"


@dataclass(frozen=True)
class PictureSet:
    """One data set: Debian packages, their version and licence, and a choice of their pictures.

    `fit` says how a picture that is not square becomes one; `background` shows where it is
    transparent, and in the padding.
    """

    kind: str
    packages: tuple[str, ...]
    version: str
    licence: str
    chosen: str
    choice: Choice
    fit: Literal["pad", "crop", "squash"] = "pad"
    background: str = "#ffffff"


def files(folder: str, pattern: str = "*.png", leave: tuple[str, ...] = ()) -> Choice:
    """All pictures below a folder, by name, but for those named in `leave`."""

    def choice(root: Path) -> Iterator[Picture]:
        for path in sorted((root / folder).rglob(pattern)):
            if path.name not in leave:
                with Image.open(path) as picture:
                    yield picture.copy()

    return choice


def members(archive: str, folders: tuple[str, ...], suffix: str) -> Choice:
    """The pictures that lie directly in some folders of a zip archive."""

    def choice(root: Path) -> Iterator[Picture]:
        with zipfile.ZipFile(next(root.glob(archive))) as packed:
            for name in sorted(packed.namelist()):
                if name.rpartition("/")[0] in folders and name.endswith(suffix):
                    yield Image.open(io.BytesIO(packed.read(name)))

    return choice


def glyphs(font: str, codes: tuple[int, ...] | range, size: int, colour: bool) -> Choice:
    """A font's pictures of some characters, each cut to its ink with a margin."""

    def choice(root: Path) -> Iterator[Picture]:
        face = ImageFont.truetype(str(root / "usr/share/fonts/truetype/noto" / font), size)
        for code in codes:
            canvas = Image.new("RGBA", (2 * size, 2 * size), (255, 255, 255, 0))
            ImageDraw.Draw(canvas).text(
                (size // 4, size // 4), chr(code), "black", face, embedded_color=colour
            )
            if box := canvas.getbbox():
                left, top, right, bottom = box
                yield canvas.crop((left - 4, top - 4, right + 4, bottom + 4))

    return choice


def crops(folders: tuple[str, ...]) -> Choice:
    """Six squares of each photograph: two rows of three, of half its height."""

    def choice(root: Path) -> Iterator[Picture]:
        paths = [path for folder in folders for path in sorted((root / folder).glob("*.jpg"))]
        for path in paths:
            with Image.open(path) as photograph:
                photograph.draft("RGB", (1024, 768))
                side = photograph.height // 2
                step = (photograph.width - side) // 2
                for index in range(6):
                    left, top = step * (index % 3), side * (index // 3)
                    box = (left, top, left + side, top + side)
                    yield photograph.crop(box)

    return choice


SETS: dict[str, PictureSet] = {
    "portraits": PictureSet(
        "portraits, drawn",
        ("naev-data",),
        "0.8.2-1",
        "GPL-3, CC-BY-3.0, CC-BY-SA-3.0",
        "all of gfx/portraits but placeholders",
        files(f"{NAEV}/portraits", leave=("none.png", "unknown.png", "news.png")),
        "crop",
    ),
    "wares": PictureSet(
        "photographs and renderings of goods",
        ("naev-data",),
        "0.8.2-1",
        "GPL-2+, GPL-3+",
        "all of gfx/commodity",
        files(f"{NAEV}/commodity", leave=("_default.png",)),
        "crop",
    ),
    "surfaces": PictureSet(
        "landscapes, painted and photographed; the smallest set",
        ("naev-data",),
        "0.8.2-1",
        "GPL-2+, GPL-3+, PD",
        "all of gfx/planet/exterior",
        files(f"{NAEV}/planet/exterior"),
        "crop",
    ),
    "creatures": PictureSet(
        "grey figures on black",
        ("freeorion-data",),
        "0.4.10.2-1",
        "CC-BY-SA-3.0",
        "all of icons/species",
        files(f"{FREEORION}/species"),
        background="#000000",
    ),
    "animals": PictureSet(
        "drawings in many styles",
        ("openclipart-png",),
        "1:0.18+dfsg-19",
        "public domain",
        "all of animals",
        files("usr/share/openclipart/png/animals"),
    ),
    "textures": PictureSet(
        "textures of walls and floors",
        ("openarena-081-textures",),
        "0.8.5split-14",
        "GPL-2+",
        f"the JPEGs of textures/{{{', '.join(TEXTURES)}}}",
        members(
            "usr/share/games/openarena/baseoa/*.pk3",
            tuple(f"textures/{folder}" for folder in TEXTURES),
            ".jpg",
        ),
        "crop",
    ),
    "food": PictureSet(
        "icons: emoji of food and drink",
        ("fonts-noto-color-emoji",),
        "2.042-0+deb12u1",
        "OFL-1.1",
        "the font's pictures of five ranges of characters",
        glyphs("NotoColorEmoji.ttf", FOOD, 109, True),
    ),
    "hieroglyphs": PictureSet(
        "grey line drawings",
        ("fonts-noto-core",),
        "20201225-1",
        "OFL-1.1",
        "the first 400 characters of the Egyptian hieroglyphs",
        glyphs("NotoSansEgyptianHieroglyphs-Regular.ttf", HIEROGLYPHS, 96, False),
    ),
    "photographs": PictureSet(
        "photographs of nature and things",
        ("mate-backgrounds", "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04"),
        "1.26.0-1, 20.04.0-2, 20.04.0-2",
        "GPL-2+, CC-BY-4.0, CC-BY-SA-3.0, CC-BY-SA-4.0",
        "six squares of each photograph",
        crops(("usr/share/backgrounds/mate/nature", "usr/share/backgrounds")),
        "crop",
    ),
    "flags": PictureSet(
        "flags: flat colours and straight edges",
        ("iso-flags-png-320x240",),
        "1.0.2-2",
        "public domain",
        "all, squashed to a square",
        files("usr/share/iso-flags-png-320x240"),
        "squash",
    ),
    "furniture": PictureSet(
        "renderings of things on white",
        ("sweethome3d-furniture",),
        "1.8-1",
        "CC-BY-3.0 (Scopia)",
        "the icons of Scopia's catalogue",
        members("usr/share/sweethome3d/furniture/Scopia.sh3f", ("scopia",), ".png"),
    ),
}
