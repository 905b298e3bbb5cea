"""Read pictures from a .npy file that contains one picture or several pictures."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np

_CHANNELS = (1, 3, 4)
_SHAPES = "(N, H, W, C), (N, C, H, W), (N, H, W), (H, W, C) or (H, W), with C = 1, 3 or 4"

Array = np.ndarray[Any, np.dtype[np.uint8]]

# NumPy reads a header with Python's parser. In Python 3.11 the parser failed once while several
# threads read ("AST constructor recursion depth mismatch"), so only one thread reads at a time.
_PARSER = threading.Lock()


def row_names(name: str, count: int | None) -> list[str]:
    """Return a name such as "a.npy[07]" for each of the `count` pictures in the file `name`.

    If `count` is None, the file has a single picture. Its name is the file's name ("a.npy").
    """
    if count is None:
        return [name]
    width = len(str(max(count - 1, 0)))
    return [f"{name}[{row:0{width}d}]" for row in range(count)]


def count_rows(path: Path) -> int | None:
    """Return the number of pictures in a .npy file; None if the array is a single picture.

    Raises ValueError if the file is damaged, or if the array's type or shape does not fit 8-bit
    pictures.
    """
    array = _open(path)
    return None if _is_single(array.shape) else len(array)


def read_row(path: Path, row: int | None) -> bytes:
    """Read one picture of a .npy file; return the bytes of a new .npy file with only this picture.

    `row` is the index of the picture, from 0, or None if the file has a single picture. The new
    file's array has the shape (H, W) or (H, W, C).
    """
    array = _open(path)
    picture = np.asarray(array if row is None else array[row])
    if picture.ndim == 3 and picture.shape[-1] not in _CHANNELS:
        picture = picture.transpose(1, 2, 0)
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(picture), allow_pickle=False)
    return buffer.getvalue()


def decode_array(data: bytes) -> Array:
    """Decode the bytes of a .npy file with one picture; return it as uint8 (H, W) or (H, W, C).

    C is 3 or 4. Raises ValueError if the array is not one 8-bit picture. Damaged bytes raise
    NumPy's errors.
    """
    with _PARSER:
        picture: Array = np.load(io.BytesIO(data), allow_pickle=False)
    if picture.dtype != np.uint8 or not _is_single(picture.shape):
        raise ValueError(
            f"the array must be one 8-bit picture (got {picture.dtype} of shape {picture.shape})"
        )
    return picture[..., 0] if picture.ndim == 3 and picture.shape[-1] == 1 else picture


def _open(path: Path) -> Array:
    try:
        with _PARSER:
            array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # the parser of headers raises nearly every type of error
        raise ValueError(f"the array is damaged ({error or type(error).__name__})") from error
    check_array(array)
    return array


def check_array(array: np.ndarray[Any, Any]) -> None:
    """Raise ValueError unless an array is uint8 and has one of the shapes in _SHAPES."""
    if array.dtype != np.uint8:
        raise ValueError(
            f"the array has values of type {array.dtype}; they must be uint8, 0 to 255"
        )
    is_usable = _is_single(array.shape) or _is_many(array.shape)
    if not is_usable or 0 in array.shape[1:]:
        raise ValueError(f"the array must have the shape {_SHAPES} (got {array.shape})")


def _is_single(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[-1] in _CHANNELS)


def _is_many(shape: tuple[int, ...]) -> bool:
    if len(shape) == 4:
        return shape[-1] in _CHANNELS or shape[1] in _CHANNELS
    return len(shape) == 3
