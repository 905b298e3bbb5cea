"""Use pictures in memory as a data set: check them, and write them to the cache."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastgan_ray.config.paths import cache_dir
from fastgan_ray.data.arrays import check_array
from fastgan_ray.data.cache import atomic_file
from fastgan_ray.errors import UserError

Data: TypeAlias = str | Path | Sequence[Image.Image] | npt.NDArray[np.uint8]

FOLDER = "pictures"  # folder inside the cache
_ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held
_LEAST = 2  # the smallest number of pictures in a data set
_NEEDED = (
    "must be a path of pictures (e.g. a folder), a name from `fastgan-ray data`, a list of PIL "
    "pictures, or a uint8 array with a shape such as (N, H, W, 3)"
)


def data_path(data: Data) -> str:
    """Return a path or a name for the setting `data.path`; write pictures in memory to the cache.

    The path in the cache depends only on the pictures, so a resumed run finds them again. A list of
    PIL pictures becomes a folder of PNG files; the pictures may have different sizes. An array must
    be uint8 with the shape (N, H, W, C), (N, C, H, W) or (N, H, W), where C is 1, 3 or 4, and N at
    least 2. Raise UserError for any other `data`.
    """
    if isinstance(data, str | Path):
        return str(data)
    if isinstance(data, Image.Image):
        raise UserError(f"data: {_NEEDED} (got a single picture)")
    if hasattr(data, "__array__"):
        return str(_keep_array(np.asarray(data)))
    if not isinstance(data, Iterable):
        raise UserError(f"data: {_NEEDED} (got {type(data).__name__})")
    return str(_keep_pictures(list(data)))


def _keep_array(array: npt.NDArray[Any]) -> Path:
    """Write an array to a .npy file in the cache; return the path of the file."""
    try:
        check_array(array)
    except ValueError as error:
        raise UserError(f"data: {error}") from None
    if array.ndim < 3 or len(array) < _LEAST or (array.ndim == 3 and array.shape[-1] in (1, 3, 4)):
        raise UserError(f"data: {_NEEDED}, with N at least {_LEAST} (got the shape {array.shape})")
    array = np.ascontiguousarray(array)
    digest = hashlib.sha256(repr(array.shape).encode())
    digest.update(array.data)
    path = cache_dir() / FOLDER / f"{digest.hexdigest()}.npy"
    if not path.is_file():
        with atomic_file(path) as draft, draft.open("wb") as file:
            np.save(file, array, allow_pickle=False)
    return path


def _keep_pictures(pictures: Sequence[object]) -> Path:
    """Write PIL pictures as PNG files to a folder in the cache; return the folder."""
    if len(pictures) < _LEAST:
        raise UserError(f"data: must have at least {_LEAST} pictures (got {len(pictures)})")
    digest = hashlib.sha256()
    for index, picture in enumerate(pictures):
        digest.update(_as_png(picture, index))
    folder = cache_dir() / FOLDER / digest.hexdigest()
    if not folder.is_dir():
        width = len(str(len(pictures) - 1))
        with atomic_file(folder) as draft:
            draft.mkdir()
            for index, picture in enumerate(pictures):
                (draft / f"{index:0{width}d}.png").write_bytes(_as_png(picture, index))
    return folder


def _as_png(picture: object, index: int) -> bytes:
    """Encode a PIL picture as a PNG with its colour profile and its orientation (EXIF).

    `index` is the position of the picture in the user's list, for error messages.
    """
    if not isinstance(picture, Image.Image):
        hint = "; use numpy.stack to make one array" if hasattr(picture, "__array__") else ""
        raise UserError(f"data: {_NEEDED} (got {type(picture).__name__} at index {index}{hint})")
    exif = Image.Exif()
    if orientation := picture.getexif().get(_ORIENTATION):
        exif[_ORIENTATION] = orientation
    buffer = io.BytesIO()
    profile = picture.info.get("icc_profile")
    try:
        picture.save(buffer, "PNG", compress_level=1, icc_profile=profile, exif=exif)
    except (OSError, ValueError) as error:  # PNG does not support the mode, or the file is damaged
        raise UserError(
            f"data: the picture at index {index} cannot be used ({error}); convert it with "
            '.convert("RGB")'
        ) from error
    return buffer.getvalue()
