"""Which trainings the library has: scales, points and seeds, in an order that can end anywhere.

A point has a number. 0 is the published default; 1, 2, ... are those of one Sobol sequence. The
first `common` numbers are trained on every set, so that ranks compare between sets and scales; the
next belong to one set each, so that together the sets cover the space more densely.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.search.file.read import load_search
from fastgan_ray.search.file.spec import SearchSpec, run_config, start_point
from fastgan_ray.search.space import SearchSpace, sobol

SPACE = Path(__file__).with_name("space.yaml")
ROLES = Path(__file__).with_name("roles.yaml")
# In the order in which they take turns, and of their own points: a new one goes to the end.
SETS = (
    *("matcaps", "fluent-heads", "portraits", "animals", "food", "wares"),
    *("textures", "flags", "hieroglyphs", "surfaces", "furniture", "photographs", "creatures"),
)
AHEAD, TURNS_AHEAD = 6, 16  # so many sets begin so many turns before the others
COMMON = 64  # Sobol points before those that belong to one set
SOBOL_SEED = 0
DIGITS = 4  # significant ones of a setting
PUBLISHED_KIMG = 400.0
SECOND_SEED_EVERY = 4


@dataclass(frozen=True)
class Scale:
    """A resolution and length, how many points it has, and when its turns are.

    `points` of the common sequence, and `own` of each set. Turn n comes at `first` + n * `stride`.
    """

    resolution: int
    total_kimg: float
    every_kimg: float
    points: int
    own: int
    first: int
    stride: int
    sets: tuple[str, ...] = SETS


SCALES = {
    "32px": Scale(32, 1.6, 0.2, COMMON, 16, first=0, stride=1),
    "64px": Scale(64, 3.2, 0.4, 20, 0, first=8, stride=4),
    "64px-long": Scale(64, 12.0, 1.0, 11, 0, first=10, stride=6, sets=("surfaces", "portraits")),
}


class Training(NamedTuple):
    """One training of the design."""

    set: str
    scale: str
    number: int
    seed: int


def roles() -> dict[str, list[str]]:
    """The sets by role."""
    content: dict[str, list[str]] = yaml.safe_load(ROLES.read_text())
    return content


def trainings() -> list[Training]:
    """The whole design in its order: sets take turns, and the scales in between."""
    timed = []
    for name, scale in SCALES.items():
        for data_set in scale.sets:
            position = SETS.index(data_set)
            first = scale.first + (TURNS_AHEAD if position >= AHEAD else 0)
            for turn, (number, seed) in enumerate(_turns(scale, position)):
                time = first + turn * scale.stride
                timed.append((time, position, Training(data_set, name, number, seed)))
    return [training for *_, training in sorted(timed)]


def _turns(scale: Scale, position: int) -> list[tuple[int, int]]:
    """(number, seed) of a set's trainings; the default has three seeds, every fourth point two."""
    first_own = 1 + COMMON + scale.own * position
    numbers = [*range(scale.points + 1), *range(first_own, first_own + scale.own)]
    turns = []
    for place, number in enumerate(numbers):
        seeds = 3 if number == 0 else 1 + (place % SECOND_SEED_EVERY == 0)
        turns += [(place + SECOND_SEED_EVERY * seed, seed, number) for seed in range(seeds)]
    return [(number, seed) for _, seed, number in sorted(turns)]


@cache
def search(scale: str) -> SearchSpec:
    """The space as a search at a scale, which checks it."""
    size = SCALES[scale]
    return load_search(
        SPACE,
        {
            "model.resolution": size.resolution,
            "train.total_kimg": size.total_kimg,
            "eval.every_kimg": size.every_kimg,
        },
    )


@cache
def _sobol(number: int) -> dict[str, Any]:
    space: SearchSpace = search("32px").space
    return {name: rounded(value) for name, value in sobol(space, number, SOBOL_SEED).items()}


def point(scale: str, number: int) -> dict[str, Any]:
    """The settings of a point, by dotted name."""
    if number > 0:
        return dict(_sobol(number))
    spec = search(scale)
    base = RunConfig().train.ema_halflife_kimg * SCALES[scale].total_kimg / PUBLISHED_KIMG
    return {**start_point(spec), "train.ema_halflife_kimg": rounded(base)}


def config(training: Training, path: str) -> RunConfig:
    """The configuration of a training on the pictures at `path`."""
    settings = point(training.scale, training.number)
    seeded = {**settings, "train.seed": training.seed, "data.path": path}
    return run_config(search(training.scale), seeded)


def rounded(value: Any) -> Any:  # noqa: ANN401 - any value of a row
    """A number to a few significant digits; anything else as it is."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
