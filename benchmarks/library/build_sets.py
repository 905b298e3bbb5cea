"""Build the library's data sets from Debian packages: NAME.zip of 128 px PNGs in the cache.

    python benchmarks/library/build_sets.py [NAME ...]     all sets, if none is named

A package is fetched by `apt-get download` (run `apt-get update` first); elsewhere than on Debian,
put its .deb into the folder that the message names. A set whose pictures are not those of the
recordings, by the digests in digests.json, is refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from picture_sets import SETS, Picture, PictureSet
from PIL import Image

from fastgan_ray.config.paths import cache_dir
from fastgan_ray.data.cache import atomic_file
from fastgan_ray.data.catalog import resolve
from fastgan_ray.data.fit import fit_picture
from fastgan_ray.errors import UserError

DIGESTS = Path(__file__).with_name("digests.json")
EMBEDDED = ("matcaps", "fluent-heads")
SIDE = 128


def folder() -> Path:
    """Where the sets and their packages lie."""
    return cache_dir() / "library"


def data_path(name: str) -> str:
    """What `data.path` says for a set: a name of the catalog, or a file that was built."""
    if name in EMBEDDED:
        return name
    path = folder() / f"{name}.zip"
    if not path.is_file():
        raise UserError(f"{path} does not exist: run build_sets.py {name}")
    return str(path)


def build(name: str) -> int:
    """Build one set and check it; the number of its pictures."""
    chosen = SETS[name]
    root = folder() / "unpacked"
    for package in chosen.packages:
        unpack(package, root / package)
    roots = [root / package for package in chosen.packages]
    pictures = list(distinct(square_pictures(chosen, roots)))
    digest = digest_of(pictures)
    known = known_digests()
    if known.setdefault(name, digest) != digest:
        raise UserError(
            f"{name}: the pictures differ from those of the recordings. These are of "
            f"{', '.join(chosen.packages)} {chosen.version}: put its .deb into {folder() / 'debs'} "
            f"(or, if a library of pictures changed, remove {name} from {DIGESTS.name})."
        )
    write(folder() / f"{name}.zip", pictures)
    DIGESTS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    return len(pictures)


def unpack(package: str, target: Path) -> None:
    """Fetch a package unless it is there, and unpack it to `target`."""
    debs = folder() / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    hint = f"Run `apt-get update`, or put {package}_VERSION_all.deb into {debs}."
    if not list(debs.glob(f"{package}_*.deb")):
        run(["apt-get", "download", package], debs, f"cannot fetch {package}. {hint}")
    if not target.is_dir():
        target.parent.mkdir(exist_ok=True)
        deb = sorted(debs.glob(f"{package}_*.deb"))[-1]
        run(["dpkg-deb", "-x", str(deb), str(target)], debs, f"cannot unpack {deb}")


def run(command: list[str], where: Path, failure: str) -> None:
    """Run a command; UserError with its last line if it fails."""
    try:
        subprocess.run(command, cwd=where, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise UserError(f"{failure} ({error})") from error
    except subprocess.CalledProcessError as error:
        raise UserError(f"{failure} ({error.stderr.strip().splitlines()[-1:]})") from error


def square_pictures(chosen: PictureSet, roots: Iterable[Path]) -> Iterator[Picture]:
    """A set's pictures as 128 px squares without transparency."""
    for root in roots:
        for picture in chosen.choice(root):
            flat = Image.new("RGBA", picture.size, chosen.background)
            flat.alpha_composite(picture.convert("RGBA"))
            yield fit_picture(flat.convert("RGB"), chosen.fit, chosen.background, (SIDE, SIDE))


def distinct(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """The pictures that no earlier one equals, but not a blank one."""
    seen: set[bytes] = set()
    for picture in pictures:
        pixels = picture.tobytes()
        if pixels not in seen and len(set(pixels)) > 1:
            seen.add(pixels)
            yield picture


def known_digests() -> dict[str, str]:
    """The digest of each set that was recorded, by name."""
    content: dict[str, str] = json.loads(DIGESTS.read_text()) if DIGESTS.exists() else {}
    return content


@cache
def digest_at(name: str) -> str:
    """The digest of a set as it lies on this machine; UserError if it is not the recorded one."""
    with zipfile.ZipFile(resolve(data_path(name))) as packed:
        names = sorted(packed.namelist())
        digest = digest_of(Image.open(io.BytesIO(packed.read(member))) for member in names)
    if digest != known_digests().get(name, digest):
        raise UserError(f"{data_path(name)} differs from what was recorded: build it again")
    return digest


def digest_of(pictures: Iterable[Picture]) -> str:
    """The first half of the sha256 of the pixels: how a file packs them does not matter."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(picture.convert("RGB").tobytes())
    return digest.hexdigest()[:32]


def write(path: Path, pictures: Iterable[Picture]) -> None:
    """Write a zip of PNGs, with the same bytes each time."""
    with atomic_file(path) as partial, zipfile.ZipFile(partial, "w") as packed:
        for index, picture in enumerate(pictures):
            data = io.BytesIO()
            picture.save(data, "PNG")
            packed.writestr(zipfile.ZipInfo(f"{index:03d}.png"), data.getvalue())


def main() -> None:
    """Build the sets that are named, or all."""
    try:
        for name in sys.argv[1:] or SETS:
            print(f"{name}: {build(name)} pictures", flush=True)
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
