"""Compute features of a search's points: the expected effects of a point on other data sets.

On data sets of the same kind, the same configurations are good. On data sets of another kind, the
same configurations may be bad (docs/findings.md). The search uses this in two ways:

- Before its first trial, it expects that a point has its mean effect on those data sets that are as
  plain as its own pictures (see `data.plain`).
- We assume that two points with similar effects on all data sets of a library also have similar
  effects on a new data set. So the expected effects on these data sets are further features of a
  point. The Gaussian process of a search learns from the search's own trials how relevant the
  features are. With more trials, they matter less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastgan_ray.counting import counted
from fastgan_ray.search.curves.kernel import Array, effect_correlation
from fastgan_ray.search.file.spec import SearchSpec, base_config, base_settings, longest_kimg
from fastgan_ray.search.knowledge.earlier import earlier_library
from fastgan_ray.search.knowledge.library import Library, package_library
from fastgan_ray.search.knowledge.own import own_libraries
from fastgan_ray.search.space import SearchSpace, is_number
from fastgan_ray.search.warm_start import EarlierTrial

SPREAD = 0.15  # root mean square distance of the features of random points from their mean
WIDTH = 0.2  # difference of two plain shares at which data sets become unlike each other
ALIKE = 0.5  # weight from which data sets are called alike
CAUTION = 1.0  # weight of the assumption that a point has no effect
TINY = 1e-6  # smallest spread of effects; below, they are rounding errors
SIMILAR = 2.0  # largest ratio between the resolutions of a library and of the search
# In the published training, the half-life of the weight average is a share of the whole training.
HALFLIFE = "train.ema_halflife_kimg"


class Knowledge:
    """The features and hyperparameters that libraries provide for a search (see `features`).

    `earlier` is a library of another search's ranks (see `earlier_library`). It has features, but
    no learning curves, so its hyperparameters are not used. `plain` is the plain share of the
    search's pictures; None if it is unknown.
    """

    def __init__(
        self,
        libraries: Sequence[Library],
        spec: SearchSpec,
        earlier: Library | None = None,
        plain: float | None = None,
    ) -> None:
        self._plain = plain
        self._libraries = [*libraries, *([earlier] if earlier else [])]
        self._with_curves = libraries
        self._settings = base_settings(spec)
        self._total_kimg = longest_kimg(spec)

    @property
    def hyperparameters(self) -> Mapping[str, float]:
        """The hyperparameters of the first library with learning curves, by name."""
        return self._with_curves[0].hyperparameters if self._with_curves else {}

    def likely_effects(self, points: Sequence[Mapping[str, Any]]) -> Array:
        """Return the effect (n,) at the end of a training that each point is expected to have.

        It is the mean effect on all recorded data sets, weighted by how alike their plain shares
        are to that of the search. It is 0 if nothing is known about data sets like this one.
        """
        total, weight = np.zeros(len(points)), CAUTION
        for library in self._with_curves:
            weights = alike(self._plain, [data.plain for data in library.sets])
            if weights.any():
                translated = [self._translated(point, library) for point in points]
                total += library.effects(translated) @ weights
                weight += weights.sum()
        return np.asarray(total / weight)

    def kept(self, time: Array) -> Array:
        """Return which share of an effect at the end a point is expected to have at log-times."""
        if not self._with_curves:
            return np.ones_like(time)
        return effect_correlation(self._with_curves[0].hyper, np.abs(time))

    def features(self, points: Sequence[Mapping[str, Any]]) -> Array:
        """Return the scaled effects of points of the search, (points, data sets of all libraries).

        The libraries have equal weights: each has the same share of the features' variance.
        """
        effects = []
        for library in self._libraries:
            translated = [self._translated(point, library) for point in points]
            spread = np.sqrt(len(self._libraries) * library.ends.var(axis=0).sum())
            # If all trainings of a library have the same value, there is no effect.
            effects.append(library.effects(translated) * SPREAD / max(spread, TINY))
        return np.concatenate(effects, axis=1)

    def _translated(self, point: Mapping[str, Any], library: Library) -> dict[str, Any]:
        """Return the point of a library's space that is nearest to a point of the search."""
        settings = {**self._settings, **point}
        if is_number(halflife := settings[HALFLIFE]):
            settings[HALFLIFE] = halflife * library.total_kimg / self._total_kimg
        return nearest_point(library.spec.space, settings)


def alike(plain: float | None, others: Sequence[float | None]) -> Array:
    """Return a weight from 0 to 1 for each of several plain shares: how near it is to `plain`."""
    if plain is None:
        return np.zeros(len(others))
    gaps = np.array([math.inf if other is None else other - plain for other in others])
    return np.asarray(np.exp(-0.5 * (gaps / WIDTH) ** 2))


def knowledge_of(
    spec: SearchSpec,
    earlier_trials: Sequence[EarlierTrial] = (),
    plain: float | None = None,
    run: str = "",
) -> Knowledge | None:
    """Return what other data sets and the trials of an earlier search say about a search.

    `plain` is the plain share of the search's pictures; None if it is unknown. `run` is the name of
    the search's folder. Returns None if nothing is known. `knowledge: false` in the search file
    leaves out the data sets, but not `earlier_trials`, which the user names.
    """
    libraries = usable_libraries(spec, run) if spec.knowledge else []
    earlier = earlier_library(earlier_trials, spec)
    return Knowledge(libraries, spec, earlier, plain) if libraries or earlier else None


def usable_libraries(spec: SearchSpec, run: str = "") -> list[Library]:
    """Return the libraries whose resolution is at least half and at most twice the search's.

    They are the library of the package, and those of the user's own searches. If the search has the
    pictures of an embedded data set, the trainings on this set are left out: a demonstration must
    not know its own answer. `run` is the name of the search's folder: a search that continues after
    `learn` must not take its own trials for those of another search.
    """
    config = base_config(spec)
    own = [library for library in own_libraries() if library.sets[0].name != run]
    known = [without(package_library(), config.data.path), *own]
    return [
        library
        for library in known
        if 1 / SIMILAR <= config.model.resolution / library.resolution <= SIMILAR
    ]


def without(library: Library, name: str | None) -> Library:
    """Return the library without the data set `name`; the library itself if it has no such set."""
    sets = [data for data in library.sets if data.name != name]
    return library if len(sets) == len(library.sets) else replace(library, sets=sets)


def describe_knowledge(spec: SearchSpec, plain: float | None = None) -> str:
    """Say in a text from which trainings on other data sets a search learns.

    `plain` is the plain share of the search's pictures; None if it is unknown. A search does not
    learn from an earlier search of its own name (see `usable_libraries`).
    """
    if not spec.knowledge:
        return "none (the file says `knowledge: false`)"
    parts = [
        f"{sum(len(data.trials) for data in library.sets)} trainings {_on(library)} at "
        f"{library.resolution} px, of {library.total_kimg:g} thousand images each"
        for library in usable_libraries(spec, spec.name)
    ]
    if not parts:
        resolution = base_config(spec).model.resolution
        return f"none (nothing is recorded at about {resolution} px)"
    alike_sets = _alike_text(spec, plain)
    return f"{'; '.join(parts)}{alike_sets}; the trials of this search soon count for more"


def _alike_text(spec: SearchSpec, plain: float | None) -> str:
    """Say which recorded data sets are as plain as the pictures of a search; "" if unknown."""
    if plain is None:
        return ""
    sets = [data for library in usable_libraries(spec, spec.name) for data in library.sets]
    weights = alike(plain, [data.plain for data in sets])
    names = [data.name for data, weight in zip(sets, weights, strict=True) if weight > ALIKE]
    return (
        f". At first, it expects what was good on the sets that are about as plain as these "
        f"pictures ({plain:.0%} of the pixels are black or white): {', '.join(names) or 'none'}"
    )


def _on(library: Library) -> str:
    if library.spec is package_library().spec:
        return f"that were recorded on {counted(len(library.sets), 'other data set')}"
    return f"of your search {library.sets[0].name}"


def nearest_point(space: SearchSpace, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the point of a space that is nearest to `settings` ({dotted name: value}).

    A value that the space does not have is replaced by the nearest number of its parameter. A
    parameter is left out if it is inactive, or if there is no such number; this is so for an
    augmentation policy that the space does not have.
    """
    point: dict[str, Any] = {}
    for parameter in space:
        if parameter.active(point):
            value = settings[parameter.name]
            if parameter.contains(value):  # None can be a value, too
                point[parameter.name] = value
            elif (number := parameter.nearest(value)) is not None:
                point[parameter.name] = number
    return point
