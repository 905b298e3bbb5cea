"""Read pictures from files as tensors with the size and value range of generated pictures."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from torch import Tensor

from fastgan_ray.config.data import DataConfig
from fastgan_ray.data.containers import head_of, open_container
from fastgan_ray.data.decode import decode, pillow_warnings_off
from fastgan_ray.data.fit import Size, fit_picture
from fastgan_ray.data.grid import to_tensor
from fastgan_ray.data.kinds import ARCHIVES, ARRAY, SUFFIXES, is_picture, kind_of
from fastgan_ray.data.listing import Listing, printable
from fastgan_ray.errors import UserError


def read_pictures(path: Path, config: DataConfig, size: Size) -> dict[str, Tensor]:
    """Read a picture file, or all pictures in a folder, an archive, an LMDB or a .npy file.

    Return {name: picture (C, H, W) in [-1, 1]}. Pictures are converted to `config.mode` and resized
    to `size` (height, width), as for training. Raise UserError if `path` does not exist or has no
    pictures, or if a picture is damaged.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; give a picture or a folder of pictures")
    if path.is_file() and (path.suffix.lower() in SUFFIXES or is_picture(kind_of(head_of(path)))):
        listing = Listing((path.name,), lambda name: path.read_bytes())
    elif path.is_file() and kind_of(head_of(path)) not in (ARRAY, *ARCHIVES):
        raise UserError(f"{path}: is not a picture; give a picture or a folder of pictures")
    else:
        listing = open_container(path)
    if not listing.names:
        raise UserError(f"{path}: contains no pictures")
    pictures = {}
    for name in listing.names:
        try:
            with pillow_warnings_off():
                image = decode(listing.read(name), config.background, mode=config.mode)
        except (UserError, OSError, ValueError) as error:
            raise UserError(f"{path}: {printable(name)}: {error}") from error
        pictures[printable(name)] = picture_tensor(image, config, size)
    return pictures


def picture_tensor(image: Image.Image, config: DataConfig, size: Size) -> Tensor:
    """Resize a picture to `size` (height, width), as for training; return (C, H, W) in [-1, 1]."""
    return to_tensor(fit_picture(image, config.fit, config.background, size))
