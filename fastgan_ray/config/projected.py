"""Compute the sizes of the feature maps in a projected discriminator from its settings."""

from __future__ import annotations

import math

Size = tuple[int, int]  # height and width

# Each small discriminator halves its map until the shorter side is about as long as this.
LAST_SIDE = 8
_KERNEL = 4  # side of the convolution that computes the logits
_STRIDES = (4, 8, 16)


def input_size(picture: Size, least_side: int) -> Size:
    """Return the size in px to which a picture is resized before the feature network sees it.

    If the shorter side of `picture` is less than `least_side`, the picture is enlarged until this
    side has `least_side` pixels. Larger pictures keep their size.
    """
    factor = max(1.0, least_side / min(picture))
    return round(picture[0] * factor), round(picture[1] * factor)


def map_sizes(network_input: Size) -> list[Size]:
    """Return the sizes of the feature maps that a projected discriminator sees, largest first.

    The sizes are about 1/2, 1/4, 1/8 and 1/16 of `network_input`, the size of the pictures that the
    feature network sees. Each map has its own small discriminator.
    """
    sides = [[math.ceil(side / stride) for stride in _STRIDES] for side in network_input]
    later = list(zip(*sides, strict=True))
    return [(2 * later[0][0], 2 * later[0][1]), *((rows, columns) for rows, columns in later)]


def level_of(size: Size) -> int:
    """Return the power of two nearest to the shorter side of `size`, but at least LAST_SIDE."""
    return int(max(LAST_SIDE, 2 ** round(math.log2(min(size)))))


def halving_count(size: Size) -> int:
    """Return how many times a small discriminator halves its feature map of this `size`."""
    return int(math.log2(level_of(size) // LAST_SIDE))


def logit_count(sizes: list[Size]) -> int:
    """Return the number of logits of all small discriminators, on feature maps of these `sizes`."""
    return sum(
        math.prod(side // 2 ** halving_count(size) - _KERNEL + 1 for side in size) for size in sizes
    )
