"""The one rule for features: finite rows of one width, two of them at least."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def checked(name: str, rows: npt.ArrayLike, at_least: int = 2) -> Array:
    """`rows` as float64 (n, d); ValueError naming `name` for another shape or a non-finite value.

    at_least: the smallest n; fewer rows are a ValueError, too.
    """
    array: Array = np.asarray(rows, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] < 1:
        raise ValueError(f"{name} must have shape (images, features) (got {array.shape})")
    if len(array) < at_least:
        raise ValueError(f"{name} must have at least {at_least} rows (got {len(array)})")
    finite = np.isfinite(array)
    if not finite.all():
        row, column = (int(index) for index in np.argwhere(~finite)[0])
        raise ValueError(
            f"{name} must be finite (got {array[row, column]} at row {row}, column {column}; "
            f"{finite.size - int(finite.sum())} such values)"
        )
    return array


def checked_pair(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    names: tuple[str, str] = ("real", "fake"),
    at_least: int = 2,
) -> tuple[Array, Array]:
    """Both sets as `checked` gives them; ValueError where their widths differ."""
    a, b = checked(names[0], first, at_least), checked(names[1], second, at_least)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{names[0]} and {names[1]} must have equally many columns "
            f"(got {a.shape[1]} and {b.shape[1]})"
        )
    return a, b
