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
ROUNDING = 1e-6


class Gain(NamedTuple):
    """What simulated searches gained over the published default.

    `trainings` is their cost in average trainings. `chance` is the fraction of searches whose best
    configuration is at least `CLEAR` percent better than the default. `median` is the mean over the
    data sets of the median gain, in percent. `sets` is the number of data sets.
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


def why_unknown(spec: SearchSpec, kimg: float) -> str:
    """Return why nothing was simulated that is like this search; "" if something was.

    The arguments are as in `expected_gain`.
    """
    recorded, resolution = _recorded(), base_config(spec).model.resolution
    known = recorded["resolution"]
    if spec.costs:
        return "the search has several metrics"
    if not 1 / SIMILAR <= resolution / known <= SIMILAR:
        return f"searches were simulated at {known} px only, and this one has {resolution} px"
    if spec.sampler not in recorded["gains"]:
        names = ", ".join(sorted(recorded["gains"]))
        return f"searches were simulated with the samplers {names} only"
    if spec.sampler == "curves" and not spec.knowledge:
        return "the simulated searches use the recorded trainings, and this one does not"
    if kimg / longest_kimg(spec) < recorded["sizes"][0] * (1 - ROUNDING):
        fewest = counted(recorded["sizes"][0], "complete training")
        return f"the search is expected to cost less than {fewest}"
    return ""


def expected_gain(spec: SearchSpec, kimg: float) -> Gain | None:
    """Return what searches of this size gained on the recorded data sets.

    The size is `kimg`, the expected cost of the search without its confirmation, in complete
    trainings. Sizes between those that were simulated are interpolated. A larger search counts as
    the largest one that was simulated. None if nothing like it was simulated (see `why_unknown`).
    """
    if why_unknown(spec, kimg):
        return None
    recorded = _recorded()
    sizes, of_set = recorded["sizes"], recorded["gains"][spec.sampler]
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
    """Return a text with the chance that a search of this size finds something.

    `kimg` is the expected cost of the search without its confirmation. If the chance is unknown,
    the text says why.
    """
    gain = expected_gain(spec, kimg)
    if gain is None:
        return f"unknown: {why_unknown(spec, kimg)}"
    return (
        f"{gain.chance:.0%} of simulated searches that cost as much as "
        f"{counted(round(gain.trainings), 'training')} of average cost found a configuration at "
        f"least {CLEAR:g} % better than the published default; the median gain is "
        f"{gain.median:.0f} % "
        f"(from recordings of {counted(gain.sets, 'data set')} at {gain.resolution} px)"
    )
