"""Check feature sets: one row for each picture, at least two rows, only finite values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def check_features(name: str, rows: npt.ArrayLike) -> Array:
    """Check a set of features `rows`; return it as a float64 array (n, d).

    Raises ValueError for another shape, a non-finite value, or fewer than 2 rows. `name` is the
    name of the set in the message.
    """
    array: Array = np.asarray(rows, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] < 1:
        raise ValueError(f"{name} must have shape (images, features) (got {array.shape})")
    if len(array) < 2:
        raise ValueError(f"{name} must have at least 2 rows (got {len(array)})")
    finite = np.isfinite(array)
    if not finite.all():
        row, column = (int(index) for index in np.argwhere(~finite)[0])
        raise ValueError(
            f"{name} must be finite (got {array[row, column]} at row {row}, column {column}; "
            f"{finite.size - int(finite.sum())} non-finite values)"
        )
    return array


def check_feature_pair(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    names: tuple[str, str] = ("real", "fake"),
) -> tuple[Array, Array]:
    """Check two sets of features as `check_features` does; return float64 arrays (n, d) and (m, d).

    Also raises ValueError if the sets have different numbers of columns.
    """
    a, b = check_features(names[0], first), check_features(names[1], second)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{names[0]} and {names[1]} must have the same number of columns "
            f"(got {a.shape[1]} and {b.shape[1]})"
        )
    return a, b
