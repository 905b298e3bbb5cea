"""The ratios of width to height that generated pictures may have."""

from __future__ import annotations

import math
import re

# width:height of a picture -> columns and rows of the generator's first feature map (4 x 4 for a
# square picture). The networks only double and halve this map, so both sides of a picture are
# multiples of resolution / 4. More elongated pictures are not supported, because the discriminator
# would not see them as a whole.
ASPECTS: dict[str, tuple[int, int]] = {
    "1:2": (4, 8),
    "4:7": (4, 7),
    "3:5": (3, 5),
    "2:3": (4, 6),
    "3:4": (3, 4),
    "4:5": (4, 5),
    "1:1": (4, 4),
    "5:4": (5, 4),
    "4:3": (4, 3),
    "3:2": (6, 4),
    "5:3": (5, 3),
    "7:4": (7, 4),
    "2:1": (8, 4),
}


def nearest_aspect(aspect: str) -> str:
    """Return a hint for an error message. The hint names the ratio in ASPECTS nearest to `aspect`.

    Return "" if `aspect` is not a ratio such as 16:9.
    """
    match = re.fullmatch(r"([1-9]\d{0,4}):([1-9]\d{0,4})", aspect)
    if match is None:
        return ""
    wanted = math.log(int(match[1]) / int(match[2]))
    ratios = {name: columns / rows for name, (columns, rows) in ASPECTS.items()}
    nearest = min(ratios, key=lambda name: abs(wanted - math.log(ratios[name])))
    return f"; the allowed ratio nearest to {aspect} is {nearest}"
