"""Find the resolution and the proportions that fit the sizes of pictures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from fastgan_ray.config.aspects import ASPECTS
from fastgan_ray.config.data import DataConfig
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.model_values import RESOLUTIONS
from fastgan_ray.data.checking import Picture
from fastgan_ray.data.fit import Size

LARGE_ENOUGH = 0.9
"""The fraction of pictures that must be at least as large as the resolution."""
_COMMON = 0.8


def enlargement(picture: Picture, config: DataConfig, size: Size) -> float:
    """Return the factor by which a picture is enlarged to `size` (height, width).

    A factor below 1 means that the picture is reduced. The factors for height and width can differ.
    If `config.fit` is "pad", the smaller factor is returned, else the larger factor.
    """
    factors = (size[0] / picture.facts.height, size[1] / picture.facts.width)
    return min(factors) if config.fit == "pad" else max(factors)


def justified_resolution(pictures: Sequence[Picture], config: DataConfig, aspect: str) -> int:
    """Return the largest resolution at which few pictures must be enlarged.

    The fraction of pictures that need no enlargement is at least LARGE_ENOUGH. If no resolution
    satisfies this, return the lowest resolution. `aspect` is a key of ASPECTS.
    """

    def is_justified(resolution: int) -> bool:
        return share_unenlarged(pictures, config, aspect, resolution) >= LARGE_ENOUGH

    return max(filter(is_justified, RESOLUTIONS), default=RESOLUTIONS[0])


def share_unenlarged(
    pictures: Sequence[Picture], config: DataConfig, aspect: str, resolution: int
) -> float:
    """Return the fraction of the pictures that need no enlargement at a resolution."""
    size = ModelConfig(resolution=resolution, aspect=aspect).size
    large = sum(enlargement(picture, config, size) <= 1 for picture in pictures)
    return large / len(pictures)


def common_aspect(pictures: Sequence[Picture]) -> tuple[str, float]:
    """Return the most common proportions (a key of ASPECTS), and the fraction of such pictures.

    Each picture counts for the key that is nearest to its proportions. If the largest fraction
    is below _COMMON, return "1:1" and the fraction of pictures that count for "1:1".
    """
    counts = Counter(nearest_aspect(picture) for picture in pictures)
    aspect, count = counts.most_common(1)[0]
    share = count / len(pictures)
    return (aspect, share) if share >= _COMMON else ("1:1", counts["1:1"] / len(pictures))


def nearest_aspect(picture: Picture) -> str:
    """Return the key of ASPECTS that is nearest to the picture's proportions."""
    ratio = picture.facts.width / picture.facts.height
    return min(ASPECTS, key=lambda name: abs(math.log(ratio / _ratio(name))))


def _ratio(aspect: str) -> float:
    columns, rows = ASPECTS[aspect]
    return columns / rows
