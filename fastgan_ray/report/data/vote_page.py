"""Choose the pairs of a blind vote, and write the key that says which generators they show.

The page itself contains no names of generators. So each run has the key in a file, page-ID.json in
its folder votes/. The key is a dict:
- "format": FORMAT.
- "page": the id of the page.
- "generators": the generators (see `vote_generators`), with only the fields in STORED.
- "own": the numbers of the generators that belong to this run.
- "same_protocol": whether all generators were measured in the same way.
- "pairs": a list of [left, right], the numbers of the two generators of each pair.
A generator's number is its index in "generators". The training pictures (the control) have the next
number after the last generator.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastgan_ray.files import write_atomically
from fastgan_ray.report.data.vote_generators import Generator
from fastgan_ray.train.grids import GRID_TILES

FORMAT = "fastgan-ray-vote-page-1"
FOLDER = "votes"
CONTROL_SHARE = 0.2  # the share of the pairs that have the control on one side
STORED = ("name", "run", "trial", "arm", "data", "values", "minimize")  # fields in the key

Key = dict[str, Any]
Match = tuple[int, int]  # the numbers of the left and the right generator


class Pair(NamedTuple):
    """A pair on the page: two generators, and which of their pictures are shown.

    `left` and `right` are the numbers of the generators. One of them may be the number of the
    control, i.e. of the training pictures. Each side shows pictures from one grid of its generator.
    `cells` has the keys of the two grids in "grids" (see `vote_generators`); the key of the control
    is "". Both sides show the pictures with the indices `tiles` in their grid. The control shows
    `len(tiles)` training pictures. They are chosen at random, and the tuple `tiles` is the seed.
    """

    left: int
    right: int
    cells: tuple[str, str]
    tiles: tuple[int, ...]


def plan_pairs(generators: Sequence[Generator], pairs: int, pictures: int, seed: int) -> list[Pair]:
    """Choose the pairs of a page at random: generators, sides, grids and pictures.

    `pairs` is the number of pairs, and `pictures` the number of pictures on each side. All
    combinations of two generators occur about equally often, and their sides alternate. A fifth of
    the pairs compare a generator with the control, i.e. with training pictures. The same arguments
    give the same pairs.
    """
    rng, control = np.random.default_rng(seed), len(generators)
    controls = round(pairs * CONTROL_SHARE)
    everyone = list(itertools.combinations(range(control), 2))
    matches = _deal(everyone, pairs - controls, rng)
    matches += _deal([(number, control) for number in range(control)], controls, rng)
    order = rng.permutation(len(matches))
    return [_pair(matches[index], generators, pictures, rng) for index in order]


def _deal(matches: Sequence[Match], count: int, rng: np.random.Generator) -> list[Match]:
    """Return `count` matches: repeat the given `matches` as often as necessary.

    Each repetition has a new random order. From one repetition to the next, the left and right
    sides of every match are swapped.
    """
    turned = rng.integers(0, 2, len(matches)).astype(bool)
    dealt: list[Match] = []
    while len(dealt) < count:
        for index in rng.permutation(len(matches)):
            first, second = matches[index]
            dealt.append((second, first) if turned[index] else (first, second))
        turned = ~turned
    return dealt[:count]


def _pair(
    match: Match, generators: Sequence[Generator], pictures: int, rng: np.random.Generator
) -> Pair:
    cells = [list(generators[side]["grids"]) if side < len(generators) else [] for side in match]
    common = [cell for cell in cells[0] if cell in cells[1]]
    if common:
        cells = [[common[rng.integers(len(common))]]] * 2
    left, right = (str(rng.choice(names)) if names else "" for names in cells)
    tiles = rng.choice(GRID_TILES, pictures, replace=False)
    return Pair(*match, (left, right), tuple(int(tile) for tile in tiles))


def make_key(generators: Sequence[Generator], pairs: Sequence[Pair]) -> Key:
    """Return the key of a page (see this module), without "own".

    The page's id is a hash of everything that the page shows.
    """
    protocols = [generator["protocol"] for generator in generators]
    key = {
        "format": FORMAT,
        "generators": [{name: generator[name] for name in STORED} for generator in generators],
        "same_protocol": all(protocol == protocols[0] for protocol in protocols),
        "pairs": [[pair.left, pair.right] for pair in pairs],
    }
    drawn = [[pair.cells, pair.tiles] for pair in pairs]
    text = json.dumps([key, drawn], sort_keys=True)
    return {"page": hashlib.sha256(text.encode()).hexdigest()[:8], **key}


def write_keys(key: Key, generators: Sequence[Generator]) -> None:
    """Write the key of a page into the folder votes/ of each run with a generator on the page."""
    for folder in dict.fromkeys(generator["folder"] for generator in generators):
        own = [n for n, generator in enumerate(generators) if generator["folder"] == folder]
        path = key_path(folder, key["page"])
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, json.dumps({**key, "own": own}, indent=1))


def key_path(folder: Path, page: str) -> Path:
    """Return the path of the key of `page` (its id) in the folder of a run."""
    return folder / FOLDER / f"page-{page}.json"
