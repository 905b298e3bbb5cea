"""The length of a search's longest trial, which its other keys must respect."""

from __future__ import annotations

from pydantic import ValidationInfo

from fastgan_ray.search.file.section import context_of
from fastgan_ray.search.space import SearchSpace


def longest_length(info: ValidationInfo) -> float | None:
    """Return the length of the longest trial, in kimg; None if a part of the file is not valid.

    `info` is that of a key after `parameters`. The length is also None if an override replaces it.
    """
    total_kimg, space = context_of(info).total_kimg, info.data.get("parameters")
    if total_kimg is None or not isinstance(space, tuple):
        return total_kimg
    return longest_trial(space, total_kimg)


def longest_trial(space: SearchSpace, total_kimg: float) -> float:
    """Return the length, in kimg, of the longest trial that the search space allows.

    `total_kimg` is the length of trials for which train.total_kimg is not a searched parameter.
    """
    for parameter in space:
        if parameter.name == "train.total_kimg":
            lengths = [value for value in parameter.values if isinstance(value, int | float)]
            not_searched = [total_kimg] if parameter.when else []
            return max([parameter.high, *lengths, *not_searched])
    return total_kimg
