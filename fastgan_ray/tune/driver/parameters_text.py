"""Format the parameters of trials as short texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.config.schedule import as_text

LONG_VALUE = 9  # values with more characters than this are long


def varied(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the parameters whose values differ between trials.

    `points` has one dict for each trial, from a parameter's name to its value. If there is only one
    trial, return all names. Parameters with long values come last, because a narrow column of a
    table shows only the start of a text.
    """
    lengths: dict[str, int] = {}
    for point in points:
        for name, value in point.items():
            lengths[name] = max(lengths.get(name, 0), len(_short(value)))
    names = [
        name
        for name in lengths
        if len(points) < 2 or len({repr(point.get(name)) for point in points}) > 1
    ]
    return sorted(names, key=lambda name: lengths[name] > LONG_VALUE)


def parameters(point: Mapping[str, Any], names: Sequence[str]) -> str:
    """Format the parameters `names` with their values in `point`.

    For example, {"model.ngf": 8, "train.lr_g": 2e-4} becomes "ngf=8 lr_g=0.0002". If two names end
    in the same word, both names are written in full, such as "model.ngf".
    """
    leaf_of = {name: name.rsplit(".", 1)[-1] for name in names}
    counts = Counter(leaf_of.values())
    return " ".join(
        f"{leaf if counts[leaf] == 1 else name}={_short(point[name])}"
        for name, leaf in leaf_of.items()
        if name in point
    )


def _short(value: object) -> str:
    if isinstance(value, str) and "," in value:
        return ",".join(word.strip()[:3] for word in value.split(","))
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, (list, tuple)):
        return "/".join(map(_short, value))
    return str(as_text(value)) or "none"
