"""Collect the facts about pictures for the command `data` and its page data.html."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fastgan_ray.config.data import DataConfig
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.data.checking import Picture
from fastgan_ray.data.listing import printable
from fastgan_ray.data.remarks import copies, mirrored_sketches, remarks, sketches
from fastgan_ray.data.resolution import (
    LARGE_ENOUGH,
    common_aspect,
    justified_resolution,
    share_unenlarged,
)
from fastgan_ray.data.source import Source, open_source
from fastgan_ray.data.survey import Survey, inventory, mode_of, survey
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.near_duplicates import (
    clusters,
    distances,
    near_duplicates,
    outliers,
    with_mirrored,
)
from fastgan_ray.metrics.self_distance import embedded_features, self_distance
from fastgan_ray.progress import Track, silently

MOST_COMPARED = 2000
"""At most this many pictures are compared; from a larger set, they are chosen at random."""
MOST_OUTLIERS = 12

Facts = dict[str, Any]


def picture_facts(config: DataConfig, track: Track = silently) -> tuple[Facts, Source | None]:
    """Return the facts of a set of pictures, and a source of the pictures.

    The facts are a dict of JSON values:
    - "path": a path or the name of a set, as in `config`.
    - "pictures": the number of pictures.
    - "files": the rows of `inventory`.
    - "remarks", "unreadable": texts about problems, and the files that cannot be read.
    If fewer than 2 pictures are usable, the source is None. Otherwise, there are more facts:
    - "kinds", "modes", "profiles": {name: number of pictures}.
    - "transparent": the number of pictures with transparent parts.
    - "sizes", "compared": the results of `_sizes` and `_compare`.
    - "resolution": {"value", "share", "needed"}. "value" is a suitable resolution, "share" is the
      share of the pictures that are large enough for it, and "needed" is the smallest share with
      which a resolution counts as suitable.
    - "aspect": {"value", "share"}. "value" is a suitable aspect ratio, and "share" is the share
      of the pictures that have about this ratio.
    - "copies": lists of names of equal pictures.
    Raise UserError if the path cannot be used at all.
    """
    found = survey(config, track)
    facts: Facts = {
        "path": printable(str(config.path)),
        "pictures": len(found.pictures),
        "files": inventory(found),
        "unreadable": list(found.unreadable),
    }
    lenient = config.model_copy(update={"on_bad_image": "skip", "limit": None})
    try:
        everything = open_source(lenient)
    except UserError as error:
        return facts | {"remarks": [str(error)]}, None
    aspect, share = common_aspect(everything.pictures)
    resolution = justified_resolution(everything.pictures, config, aspect)
    size = ModelConfig(resolution=resolution, aspect=aspect).size
    facts |= {
        "remarks": remarks(everything, lenient, size),
        "kinds": _counts([picture.kind for picture in found.pictures]),
        "modes": _counts([mode_of(picture) for picture in found.pictures]),
        "profiles": _counts([picture.facts.profile or "none" for picture in found.pictures]),
        "transparent": sum(picture.facts.is_transparent for picture in found.pictures),
        "sizes": _sizes(found),
        "resolution": {
            "value": resolution,
            "share": share_unenlarged(found.pictures, config, aspect, resolution),
            "needed": LARGE_ENOUGH,
        },
        "aspect": {"value": aspect, "share": share},
        "copies": [
            [printable(picture.name) for picture in group] for group in copies(found.pictures)
        ],
    }
    source = open_source(lenient.model_copy(update={"limit": MOST_COMPARED}))
    return facts | {"compared": _compare(source, lenient, track)}, source


def _compare(source: Source, config: DataConfig, track: Track) -> Facts:
    """Compare the pictures of `source` by the features of the embedded network.

    Return a dict:
    - "count": the number of pictures.
    - "near": the near duplicates, as {"indices", "distance"}.
    - "outliers", "clusters": indices of pictures in `source`.
    - "halves": the result of `self_distance`; None if there are too few pictures.
    """
    features, mirrored = embedded_features(source, config, track)
    between = distances(features)
    pairs = near_duplicates(
        with_mirrored(between, features, mirrored),
        sketches(source.pictures),
        mirrored_sketches(source.pictures),
    )
    halves = self_distance(source, config, track)
    return {
        "count": len(source),
        "near": [
            {"indices": [pair.first, pair.second], "distance": round(pair.distance, 2)}
            for pair in pairs
            if source.pictures[pair.first].sha256 != source.pictures[pair.second].sha256
        ],
        "outliers": outliers(between)[:MOST_OUTLIERS],
        "clusters": clusters(features),
        "halves": halves and {**halves._asdict(), "has_direction": halves.has_direction},
    }


def _sizes(found: Survey) -> Facts:
    """Return {"smallest", "median", "largest", "ranges"}: facts about the sizes of the pictures.

    The size of a picture is its shorter side. The first three values are texts. "ranges" has the
    number of pictures in each range of sizes.
    """
    pictures = sorted(found.pictures, key=_short_side)
    sides = [_short_side(picture) for picture in pictures]
    bounds = (0, 32, 64, 128, 256, 512, 1024)
    ranges = [
        {
            "range": f"under {high} px" if low == 0 else f"{low} to {high - 1} px",
            "count": sum(low <= side < high for side in sides),
        }
        for low, high in pairwise(bounds)
    ]
    ranges.append({"range": "1024 px or more", "count": sum(side >= 1024 for side in sides)})
    return {
        "smallest": _size_text(pictures[0]),
        "median": f"{np.median(sides):g} px",
        "largest": _size_text(pictures[-1]),
        "ranges": ranges,
    }


def _short_side(picture: Picture) -> int:
    return min(picture.facts.width, picture.facts.height)


def _size_text(picture: Picture) -> str:
    return f"{picture.facts.width} x {picture.facts.height} ({printable(picture.name)})"


def _counts(names: Sequence[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())
