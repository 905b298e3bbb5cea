"""What a search of a given size can expect, from simulated searches on the recorded data sets."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastgan_ray.counting import counted
from fastgan_ray.search.file.spec import SearchSpec, base_config, longest_kimg
from fastgan_ray.search.knowledge.responses import SIMILAR

FILE = Path(__file__).with_name("gains.json")
CLEAR = 10.0  # percent


class Gain(NamedTuple):
    """What simulated searches gained over the published default.

    `chance` is the fraction of searches whose best configuration is at least `CLEAR` percent better
    than the default. `median` is the median gain in percent. `sets` is the number of data sets.
    """

    trainings: float
    chance: float
    median: float
    sets: int
    resolution: int


@cache
def _recorded() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def expected_gain(spec: SearchSpec, kimg: float) -> Gain | None:
    """Return what searches of this size gained on the recorded data sets.

    The size is `kimg`, the expected cost of the search without its confirmation, in complete
    trainings. Sizes between those that were simulated are interpolated. A larger search counts as
    the largest one that was simulated. None if the sampler or the resolution was not simulated, or
    if the search does not use the recordings, which the simulated ones did.
    """
    recorded = _recorded()
    ratio = base_config(spec).model.resolution / recorded["resolution"]
    of_set = recorded["gains"].get(spec.sampler)
    is_simulated = of_set is not None and 1 / SIMILAR <= ratio <= SIMILAR and not spec.costs
    without_recordings = spec.sampler == "curves" and not spec.knowledge
    if not is_simulated or without_recordings:
        return None
    sizes = recorded["sizes"]
    trainings = min(kimg / longest_kimg(spec), sizes[-1])
    # Each set has the same weight.
    arrays = [np.array(gains) for gains in of_set.values()]
    chances = np.mean([(gains >= CLEAR).mean(axis=0) for gains in arrays], axis=0)
    medians = np.mean([np.median(gains, axis=0) for gains in arrays], axis=0)
    return Gain(
        trainings=trainings,
        chance=float(np.interp(trainings, sizes, chances)),
        median=float(np.interp(trainings, sizes, medians)),
        sets=len(of_set),
        resolution=recorded["resolution"],
    )


def describe_gain(spec: SearchSpec, kimg: float) -> str:
    """Return a text with the chance that a search of this size finds something; "" if unknown.

    `kimg` is the expected cost of the search without its confirmation.
    """
    gain = expected_gain(spec, kimg)
    if gain is None:
        return ""
    return (
        f"{gain.chance:.0%} of simulated searches with about "
        f"{counted(round(gain.trainings), 'complete training')} found a configuration at least "
        f"{CLEAR:g} % better than the published default; the median gain is {gain.median:.0f} % "
        f"(from recordings of {counted(gain.sets, 'data set')} at {gain.resolution} px)"
    )
