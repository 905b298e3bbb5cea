"""Pictures from files, with the size and value range of generated pictures."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from torch import Tensor

from fastgan_ray.config.run_config import DataConfig
from fastgan_ray.data.containers import head_of, open_container
from fastgan_ray.data.decode import decode, pillow_warnings_off
from fastgan_ray.data.fit import fit_to_square
from fastgan_ray.data.grid import to_tensor
from fastgan_ray.data.kinds import SUFFIXES, is_picture, kind_of
from fastgan_ray.data.listing import Listing, printable
from fastgan_ray.errors import UserError


def read_pictures(path: Path, config: DataConfig, side: int) -> dict[str, Tensor]:
    """Read a picture file, or all pictures in a folder, archive or LMDB.

    Return {name: picture (3, side, side) in [-1, 1]}. The pictures are made square and scaled as
    for training. Raise UserError if `path` does not exist or has no pictures, or if a picture is
    damaged.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; name a picture or a folder of pictures")
    if path.is_file() and (path.suffix.lower() in SUFFIXES or is_picture(kind_of(head_of(path)))):
        listing = Listing((path.name,), lambda name: path.read_bytes())
    else:
        listing = open_container(path)
    if not listing.names:
        raise UserError(f"{path}: contains no pictures")
    pictures = {}
    for name in listing.names:
        try:
            with pillow_warnings_off():
                image = decode(listing.read(name), config.background)
        except (UserError, OSError, ValueError) as error:
            raise UserError(f"{path}: {printable(name)}: {error}") from error
        pictures[printable(name)] = square_tensor(image, config, side)
    return pictures


def square_tensor(image: Image.Image, config: DataConfig, side: int) -> Tensor:
    """Make a picture square and scale it as for training: (3, side, side) in [-1, 1]."""
    square = fit_to_square(image, config.fit, config.background, side)
    return to_tensor(square)
